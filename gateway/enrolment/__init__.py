"""The use cases: submit, settle, approve, revoke."""
