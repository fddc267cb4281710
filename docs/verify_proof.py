"""Check a proof of "payctl ledger proof" against anchor files: verify_proof.py PROOF ANCHORS..."""

import hashlib
import json
import sys
from pathlib import Path


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


HEADER = "number prev_hash root journals total_journals watermark complete_until_us sealed_at_us"
proof = json.loads(Path(sys.argv[1]).read_bytes())
content, headers = bytes.fromhex(proof["content"]), proof["headers"]
node = sha256(b"\x00", sha256(content))
at, last = proof["position"], headers[0]["journals"] - 1
for other in map(bytes.fromhex, proof["path"]):
    while at == last and not at & 1 and last:  # the odd one out goes up unchanged
        at, last = at >> 1, last >> 1
    node = sha256(b"\x01", other, node) if at & 1 else sha256(b"\x01", node, other)
    at, last = at >> 1, last >> 1
good, hashes = node.hex() == headers[0]["root"], []
for header in headers:  # its hash is over its fields, each with its length in front
    fields = [b"payctl.block/1"]
    for name in HEADER.split():
        text = str(header[name])
        fields.append(bytes.fromhex(text) if name in ("prev_hash", "root") else text.encode())
    hashes.append(sha256(*(len(field).to_bytes(4, "big") + field for field in fields)).hex())
good &= [header["prev_hash"] for header in headers[1:]] == hashes[:-1]
lines = [line for name in sys.argv[2:] for line in Path(name).read_text("utf-8").splitlines()]
anchors = [json.loads(line) for line in lines if line.endswith("}")]  # a crash may cut one
good &= (headers[-1]["number"], hashes[-1]) in {(each["block"], each["hash"]) for each in anchors}
print("PROVEN" if good else "NOT PROVEN")
while good and content:  # what is proven, field by field
    size = int.from_bytes(content[:4], "big") % 0xFFFFFFFF  # all ones: the field is absent
    print("  ", content[4 : 4 + size])
    content = content[4 + size :]
sys.exit(0 if good else 1)
