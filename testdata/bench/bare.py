"""The physical limit of an object store on this machine: curl sends the same bytes to the same server, and does nothing else.

Everything that is to be known beforehand (signatures, digests, pieces of the large file, the begin of a multipart upload) is
made before the clock starts. Nothing is compared, verified, remembered or made durable, so no program that does can be as fast.
"""
import base64
import datetime
import hashlib
import hmac
import os
import pathlib
import urllib.parse
import urllib.request
import xml.etree.ElementTree as xml

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # everybody's
ACCOUNT = "devstoreaccount1"
S3_KEY, S3_SECRET, S3_REGION = "testkey", "testsecret123", "us-east-1"
PIECE = 16 << 20


class Request:
    """One request; file is its body."""

    def __init__(self, method, url, headers=(), file=None):
        self.method, self.url, self.headers, self.file = method, url, dict(headers), file

    def entry(self):
        """As curl's --config takes it."""
        lines = [f'request = "{self.method}"', f'url = "{self.url}"', 'header = "Expect:"', "output = /dev/null", "fail", "silent", "show-error"]
        lines += [f'header = "{k}: {v}"' for k, v in self.headers.items()]
        if self.file:
            lines.append(f'upload-file = "{self.file}"')
        return "\n".join(lines)

    def send(self):
        body = pathlib.Path(self.file).read_bytes() if self.file else None
        with urllib.request.urlopen(urllib.request.Request(self.url, method=self.method, data=body, headers=self.headers)) as answer:
            return answer.read()


def command(folder, stages, at_a_time):
    """The command that sends the stages one after the other, the requests of each so many at a time."""
    runs = []
    for i, requests in enumerate(stages):
        config = folder / f"stage{i}.curl"
        config.write_text("\nnext\n".join(r.entry() for r in requests) + "\n")
        runs.append(f"curl --disable --parallel --parallel-immediate --parallel-max {at_a_time} --no-progress-meter --config '{config}'")
    return ["sh", "-ec", "\n".join(runs)]


def pieces(folder, file):
    """A large file in pieces, each a file of its own in the page cache."""
    made = []
    with open(file, "rb") as f:
        while piece := f.read(PIECE):
            made.append(folder / f"piece{len(made):05d}")
            made[-1].write_bytes(piece)
    return made


def gcs_put(endpoint, bucket, file):
    q = urllib.parse.urlencode({"uploadType": "media", "name": file.name})
    return Request("POST", f"{endpoint}/upload/storage/v1/b/{bucket}/o?{q}", {"Content-Type": "application/octet-stream"}, file)


def s3(endpoint, method, path, query=(), file=None):
    """A request with its signature in the address. Source: Amazon S3, "Authenticating requests: using query parameters"."""
    host, when = urllib.parse.urlsplit(endpoint).netloc, datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{when[:8]}/{S3_REGION}/s3/aws4_request"
    q = {**dict(query), "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{S3_KEY}/{scope}", "X-Amz-Date": when, "X-Amz-Expires": "3600",
         "X-Amz-SignedHeaders": "host"}
    text, path = urllib.parse.urlencode(sorted(q.items()), quote_via=urllib.parse.quote, safe="-_.~"), urllib.parse.quote(path, safe="/-_.~")
    canonical = f"{method}\n{path}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    key = b"AWS4" + S3_SECRET.encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    signed = f"AWS4-HMAC-SHA256\n{when}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return Request(method, f"{endpoint}{path}?{text}&X-Amz-Signature={hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()}", file=file)


def s3_parts(endpoint, bucket, name, folder, parts):
    """The stages of a multipart upload that this begins."""
    path = f"/{bucket}/{name}"
    answer = xml.fromstring(s3(endpoint, "POST", path, {"uploads": ""}).send())
    upload = next(e.text for e in answer.iter() if e.tag.endswith("UploadId"))
    done = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{hashlib.md5(p.read_bytes()).hexdigest()}</ETag></Part>" for n, p in enumerate(parts, 1))
    (folder / "complete.xml").write_text(f"<CompleteMultipartUpload>{done}</CompleteMultipartUpload>")
    return [[s3(endpoint, "PUT", path, {"partNumber": n, "uploadId": upload}, p) for n, p in enumerate(parts, 1)],
            [s3(endpoint, "POST", path, {"uploadId": upload}, folder / "complete.xml")]]


def azure(endpoint, bucket, name="", query=(), headers=(), file=None, md5=""):
    """A PUT signed with the shared key. Source: Azure Storage, "Authorize with Shared Key"."""
    when, query = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT"), dict(query)
    headers = {**dict(headers), "x-ms-date": when, "x-ms-version": "2021-08-06"}
    path = urllib.parse.urlsplit(endpoint).path + f"/{bucket}" + (f"/{urllib.parse.quote(name)}" if name else "")
    length = os.path.getsize(file) if file else 0
    text = f"PUT\n\n\n{length or ''}\n{md5}" + "\n" * 8 + "".join(f"{k}:{v}\n" for k, v in sorted(headers.items())) + f"/{ACCOUNT}{path}"
    text += "".join(f"\n{k}:{v}" for k, v in sorted(query.items()))
    signature = base64.b64encode(hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()).decode()
    address = urllib.parse.urlunsplit((*urllib.parse.urlsplit(endpoint)[:2], path, urllib.parse.urlencode(query), ""))
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}"} | ({"Content-MD5": md5} if md5 else {})
    return Request("PUT", address, headers, file)


def azure_put(endpoint, bucket, file):
    return azure(endpoint, bucket, file.name, headers={"x-ms-blob-type": "BlockBlob"}, file=file)


def azure_blocks(endpoint, bucket, name, folder, parts):
    """Blocks with their MD5, which the server verifies, as no answer tells otherwise that they arrived whole."""
    md5 = [base64.b64encode(hashlib.md5(p.read_bytes()).digest()).decode() for p in parts]
    ids = [base64.b64encode(f"{n:016d}".encode()).decode() for n in range(len(parts))]
    (folder / "list.xml").write_text("<BlockList>" + "".join(f"<Latest>{i}</Latest>" for i in ids) + "</BlockList>")
    return [[azure(endpoint, bucket, name, {"comp": "block", "blockid": i}, file=p, md5=m) for i, p, m in zip(ids, parts, md5)],
            [azure(endpoint, bucket, name, {"comp": "blocklist"}, file=folder / "list.xml")]]
