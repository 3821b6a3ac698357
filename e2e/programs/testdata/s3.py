"""Uses an S3 server ($ENDPOINT) as programs do, and says what it sees."""
import os
import sys

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

bucket = os.environ["BUCKET"]


def client():
    c = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="us-east-1",
                     config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
    c.meta.events.register("before-send.s3.*", lambda request, **_: print("call", request.method, request.url.split("?")[0], file=sys.stderr))
    return c


s3 = client()


def data(size):
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def refused(status, operation, **arguments):
    try:
        operation(Bucket=bucket, **arguments)
        print("not refused")
    except ClientError as e:
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == status, e
        print(status, e.response["Error"]["Code"])


for size in 0, 1000, 300_000:
    put = s3.put_object(Bucket=bucket, Key=f"plain/{size} ä", Body=data(size))
    got = s3.get_object(Bucket=bucket, Key=f"plain/{size} ä")
    assert got["Body"].read() == data(size)
    print("put and got", size, put["ETag"] == got["ETag"], got["ContentLength"])

# On a connection of its own: the server may answer before it has read the end
# of the trailer, and take that for the next request.
put = client().put_object(Bucket=bucket, Key="chunked", Body=data(200_000), ChecksumAlgorithm="CRC32")  # aws-chunked, with a trailer
print("chunked", put["ETag"], put.get("ChecksumCRC32"))
refused(304, s3.get_object, Key="chunked", IfNoneMatch=put["ETag"])
refused(404, s3.get_object, Key="nothing")

upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
parts = []
for number, size in (1, 5 << 20), (2, 1000):
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=data(size))
    parts.append({"ETag": part["ETag"], "PartNumber": number})
done = s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
print("multipart", done["ETag"], s3.head_object(Bucket=bucket, Key="parts")["ContentLength"])

for method, operation, body in ("PUT", "put_object", b"signed"), ("GET", "get_object", None):
    url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "presigned"}, ExpiresIn=60)
    print("call", method, url.split("?")[0], file=sys.stderr)
    answer = requests.request(method, url, data=body)
    print("presigned", answer.status_code, answer.content)

for o in s3.list_objects_v2(Bucket=bucket)["Contents"]:
    print("listed", o["Key"], o["Size"])
s3.delete_object(Bucket=bucket, Key="parts")
