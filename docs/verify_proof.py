"""Check a proof of "payctl ledger proof" against anchor files: verify_proof.py PROOF ANCHORS..."""

import hashlib
import json
import sys
from pathlib import Path

HEADER = ("number prev_hash root journals total_journals watermark complete_until_us sealed_at_us"
          .split())  # fmt: skip


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def framed(header):  # every field with its length in front, see payctl/ledger/blocks.py
    fields = [b"payctl.block/1"]
    for name in HEADER:
        text = str(header[name])
        fields.append(bytes.fromhex(text) if name in ("prev_hash", "root") else text.encode())
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


proof = json.loads(Path(sys.argv[1]).read_bytes())
content, headers = bytes.fromhex(proof["content"]), proof["headers"]
node = sha256(b"\x00", sha256(content))
at, last = proof["position"], headers[0]["journals"] - 1
for other in map(bytes.fromhex, proof["path"]):
    while at == last and not at & 1 and last:  # the odd one out goes up unchanged
        at, last = at >> 1, last >> 1
    node = sha256(b"\x01", other, node) if at & 1 else sha256(b"\x01", node, other)
    at, last = at >> 1, last >> 1
good = node.hex() == headers[0]["root"]
hashes = [sha256(framed(header)).hex() for header in headers]
good &= [header["prev_hash"] for header in headers[1:]] == hashes[:-1]
lines = [line for name in sys.argv[2:] for line in Path(name).read_text("utf-8").splitlines()]
anchors = [json.loads(line) for line in lines if line.endswith("}")]  # a crash may cut one
good &= (headers[-1]["number"], hashes[-1]) in {(each["block"], each["hash"]) for each in anchors}
print("PROVEN" if good else "NOT PROVEN", content if good else "", sep="\n")
sys.exit(0 if good else 1)
