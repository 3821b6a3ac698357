package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"tapedeck/internal/s3test"
)

// awsChunked uploads in S3's own chunked coding, which is a content coding and
// stays in the recorded body: with a signature a chunk, and with a checksum as
// a trailer. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
func (r *script) awsChunked(ctx context.Context) error {
	for _, size := range []int{0, 100 << 10, 3 << 20} {
		if err := r.signedChunks(ctx, size); err != nil {
			return err
		}
		if err := r.trailerChecksum(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

const awsChunk = 64 << 10

func (r *script) signedChunks(ctx context.Context, size int) error {
	const payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	data, now := content("signed", size), time.Now().UTC()
	length := 0
	for begin := 0; begin <= size+awsChunk-1; begin += awsChunk { // the last chunk is empty
		n := len(data[min(begin, size):min(begin+awsChunk, size)])
		length += len(fmt.Sprintf("%x;chunk-signature=", n)) + 64 + 2 + n + 2
	}
	req, err := r.chunkedRequest(ctx, fmt.Sprintf("chunked/signed-%d", size), payload, size, length, nil, now)
	if err != nil {
		return err
	}
	_, signature, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	key := []byte("AWS4" + r.server.Secret)
	for _, s := range []string{now.Format("20060102"), s3test.Region, "s3", "aws4_request"} {
		key = mac(key, s)
	}
	scope := now.Format("20060102") + "/" + s3test.Region + "/s3/aws4_request"
	empty := sha256.Sum256(nil)
	var body bytes.Buffer
	for begin := 0; ; begin += awsChunk {
		chunk := data[min(begin, size):min(begin+awsChunk, size)]
		hash := sha256.Sum256(chunk)
		signature = hex.EncodeToString(mac(key, strings.Join([]string{"AWS4-HMAC-SHA256-PAYLOAD", now.Format("20060102T150405Z"), scope, signature,
			hex.EncodeToString(empty[:]), hex.EncodeToString(hash[:])}, "\n")))
		fmt.Fprintf(&body, "%x;chunk-signature=%s\r\n%s\r\n", len(chunk), signature, chunk)
		if len(chunk) == 0 {
			break
		}
	}
	r.as("aws-chunked, signed, %d bytes", size)
	return r.send(req, body.Bytes())
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

func (r *script) trailerChecksum(ctx context.Context, size int) error {
	body := trailerBody(content("trailer", size))
	req, err := r.chunkedRequest(ctx, fmt.Sprintf("chunked/trailer-%d", size), trailerPayload, size, len(body), trailerHeader, time.Now().UTC())
	if err != nil {
		return err
	}
	r.as("aws-chunked, trailer, %d bytes", size)
	return r.send(req, body)
}

const trailerPayload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

var trailerHeader = http.Header{"X-Amz-Trailer": {"x-amz-checksum-crc32"}}

func trailerBody(data []byte) []byte {
	var body bytes.Buffer
	for chunk := range slices.Chunk(data, awsChunk) {
		fmt.Fprintf(&body, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	crc := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	fmt.Fprintf(&body, "0\r\nx-amz-checksum-crc32:%s\r\n\r\n", base64.StdEncoding.EncodeToString(crc))
	return body.Bytes()
}

// curlChunked is an upload in S3's chunks within HTTP's chunks.
func (r *script) curlChunked(ctx context.Context, name, key string, size int) (curlCall, error) {
	req, err := r.chunkedRequest(ctx, key, trailerPayload, size, 0, trailerHeader, time.Now().UTC())
	if err != nil {
		return curlCall{}, err
	}
	args := []string{"-H", "Transfer-Encoding: chunked"}
	for name, values := range req.Header {
		args = append(args, "-H", name+": "+values[0])
	}
	return curlCall{name: name, method: http.MethodPut, key: key, body: trailerBody(content(key, size)), args: args, url: req.URL.String()}, nil
}

func (r *script) chunkedRequest(ctx context.Context, key, payload string, size, length int, header http.Header, now time.Time) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+r.address+"/"+scriptBucket+"/"+key, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Encoding", "aws-chunked")
	req.Header.Set("X-Amz-Content-Sha256", payload)
	req.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
	req.ContentLength = int64(length)
	return req, v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: r.server.Access, SecretAccessKey: r.server.Secret}, req, payload, "s3", s3test.Region, now)
}

func (r *script) send(req *http.Request, body []byte) error {
	if req.ContentLength != int64(len(body)) {
		return fmt.Errorf("%s: body of %d bytes, announced %d", r.witness.name, len(body), req.ContentLength)
	}
	req.Body = readCloser{bytes.NewReader(body)}
	resp, err := r.witness.RoundTrip(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d: %s", r.witness.name, resp.StatusCode, r.calls.all[len(r.calls.all)-1].response)
	}
	return nil
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
