"""CMP (RFC 9810, 9811, CRMF RFC 4211): codec use, flow, routes."""
