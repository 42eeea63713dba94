"""CertReqMessages: templates, controls and every form of proof of possession (RFC 4211)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gateway.asn1 import crmf, crmf_encode
from gateway.errors import MalformedMessage
from gateway.model.evidence import SecretBytes
from gateway.pki.crmf_request import read_request, verify_possession
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import MacLimits

# Few iterations, so that a run spends its time in decoders
LIMITS = MacLimits(max_iterations=200)
SENDER_DER = bytes.fromhex("a4133011310f300d06035504030c06646576696365")
SECRET = SecretBytes(b"fuzz-secret")


def one_input(octets: bytes) -> None:
    """Read the requests and verify what they prove; a template that was read is written equal."""
    try:
        messages = crmf.decode_cert_req_messages(octets)
    except MalformedMessage:
        return
    for message in messages:
        again = crmf.decode_template(crmf_encode.encode_template(message.template))
        assert again == message.template
        with suppress(MalformedMessage):
            request = read_request(message)
            asyncio.run(
                verify_possession(
                    request, sender_der=SENDER_DER, secret=SECRET, keys=MacKeys(), limits=LIMITS
                )
            )
