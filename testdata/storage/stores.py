"""The storage providers that Open WebUI's files can have, each in Open WebUI's own variables, on real servers."""
import json
import pathlib
import sys
import urllib.request

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "matrix"))

from layouts import Servers, Unavailable, sql  # noqa: E402, F401

# Azurite's documentation gives this key to everybody.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Store:
    name = ""

    def __init__(self, servers):
        self.servers = servers

    def start(self):
        """Raises Unavailable where there is no server to be had."""

    def place(self, name, data):
        """A new, empty place for files, named so; data is DATA_DIR. Gives a Place."""
        raise NotImplementedError


class Place:
    """Where the files of one deployment are: its variables, the form of file.path and what it lists."""

    def __init__(self, variables, form):
        self.variables, self.form = variables, form

    def names(self):
        raise NotImplementedError

    def leftovers(self):
        """What uploads have left unfinished."""
        return []

    def normal(self, name):
        """A name as the listing gives it."""
        return name


class Local(Store):
    name = "local"

    def place(self, name, data):
        place = Place({"STORAGE_PROVIDER": "local"}, lambda n: f"{data}/uploads/{n}")
        place.names = lambda: [p.name for p in (data / "uploads").iterdir()]
        return place


class S3(Store):
    name = "s3"
    prefix = "pre"

    def start(self):
        self.endpoint = self.servers.start("s3", "s3.sh").split()[0]

    def place(self, name, data):
        import boto3
        import botocore.config

        # Open WebUI's own way to join: prefixes with and without the slash at the end are the same.
        prefix = "pre/fix/" if name.endswith("source") else self.prefix
        variables = {"STORAGE_PROVIDER": "s3", "S3_ENDPOINT_URL": self.endpoint, "S3_REGION_NAME": "us-east-1", "S3_ACCESS_KEY_ID": "testkey",
                     "S3_SECRET_ACCESS_KEY": "testsecret123", "S3_BUCKET_NAME": name, "S3_KEY_PREFIX": prefix}
        prefix = prefix and prefix.rstrip("/") + "/"
        client = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="testkey", aws_secret_access_key="testsecret123",
                              config=botocore.config.Config(s3={"addressing_style": "path"}))
        client.create_bucket(Bucket=name)
        place = Place(variables, lambda n: f"s3://{name}/{prefix}{n}")

        def names():
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
            return [o["Key"].removeprefix(prefix) for page in pages for o in page.get("Contents", [])]

        place.names = names
        place.leftovers = lambda: [u["Key"] for u in client.list_multipart_uploads(Bucket=name).get("Uploads", [])]
        return place


class GCS(Store):
    name = "gcs"

    def start(self):
        self.endpoint = self.servers.start("gcs", "gcs.sh").split()[0]

    def place(self, name, data):
        request = urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=t", method="POST", data=json.dumps({"name": name}).encode(),
                                         headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()
        place = Place({"STORAGE_PROVIDER": "gcs", "GCS_BUCKET_NAME": name, "STORAGE_EMULATOR_HOST": self.endpoint}, lambda n: f"gs://{name}/{n}")

        def names():
            found, token = [], ""
            while True:
                with urllib.request.urlopen(f"{self.endpoint}/storage/v1/b/{name}/o?pageToken={token}") as answer:
                    page = json.load(answer)
                found += [o["name"] for o in page.get("items", [])]
                token = page.get("nextPageToken")
                if not token:
                    return found

        place.names = names
        return place


class Azure(Store):
    name = "azure"

    def start(self):
        self.endpoint = self.servers.start("azure", "azure.sh").split()[0]

    def place(self, name, data):
        from azure.storage.blob import BlobServiceClient

        container = BlobServiceClient(account_url=self.endpoint, credential=AZURITE_KEY).create_container(name)
        variables = {"STORAGE_PROVIDER": "azure", "AZURE_STORAGE_ENDPOINT": self.endpoint, "AZURE_STORAGE_CONTAINER_NAME": name, "AZURE_STORAGE_KEY": AZURITE_KEY}
        place = Place(variables, lambda n: f"{self.endpoint}/{name}/{n}")
        committed = lambda: {b.name for b in container.list_blobs()}
        place.names = lambda: [b.name for b in container.list_blobs()]
        place.leftovers = lambda: sorted({b.name for b in container.list_blobs(include=["uncommittedblobs"])} - committed())
        place.normal = lambda n: n.replace("\\", "/")  # as Azurite lists it
        return place


def stores(servers):
    made = [Local(servers), S3(servers), GCS(servers), Azure(servers)]
    return {s.name: s for s in made}
