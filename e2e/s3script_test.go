package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"tapedeck/internal/s3test"
)

const (
	scriptBucket = "data"
	filled       = "filled/object" // there before the script begins
)

// bodySizes go up to 20 MiB, across every bound on the way.
var bodySizes = []int{0, 1, 1000, 64 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20, 5<<20 + 17, 20 << 20}

// content is the same for the same name and size, and does not compress.
func content(name string, size int) []byte {
	var seed [32]byte
	copy(seed[:], fmt.Sprint(name, size))
	b := make([]byte, size)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// script is what clients do to an S3 server.
type script struct {
	t       *testing.T
	address string // host:port that the clients connect to
	server  *s3test.Server
	calls   *calls
	witness *witness
	client  *s3.Client
}

// fill puts what the script expects there into a server.
func fill(t *testing.T, s *s3test.Server) {
	t.Helper()
	client := s3Client(s.Access, s.Secret, s.Address, http.DefaultClient)
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String(filled), Body: bytes.NewReader(content(filled, 300<<10))})
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func s3Client(access, secret, address string, c s3.HTTPClient) *s3.Client {
	return s3.New(s3.Options{
		Region: s3test.Region, UsePathStyle: true, BaseEndpoint: aws.String("http://" + address), HTTPClient: c,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
}

// runScript does everything to the server behind address and returns what the
// clients saw.
func runScript(t *testing.T, s *s3test.Server, address string) []*call {
	t.Helper()
	all := &calls{}
	w := newWitness(all)
	defer w.transport.CloseIdleConnections()
	r := &script{t: t, address: address, server: s, calls: all, witness: w}
	r.client = s3Client(s.Access, s.Secret, address, &http.Client{Transport: w})
	for _, step := range []func(context.Context) error{
		r.putAndGet, r.ranges, r.conditions, r.missing, r.multipart, r.listAndDelete, r.strangers, r.awsChunked, r.curl, r.pipeline,
	} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return all.inOrder()
}

func (r *script) as(name string, args ...any) { r.witness.name = fmt.Sprintf(name, args...) }

func (r *script) putAndGet(ctx context.Context) error {
	for _, size := range bodySizes {
		key := fmt.Sprintf("sizes/%d ä+&.bin", size)
		r.as("put %d bytes", size)
		body := content("put", size)
		if _, err := r.client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(scriptBucket), Key: &key, Body: bytes.NewReader(body),
			Metadata: map[string]string{"size": fmt.Sprint(size)}}); err != nil {
			return err
		}
		r.as("get %d bytes", size)
		out, err := r.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(scriptBucket), Key: &key})
		if err != nil {
			return err
		}
		if got, err := io.ReadAll(out.Body); err != nil || !bytes.Equal(got, body) {
			return fmt.Errorf("get of %d bytes: got %d, %w", size, len(got), err)
		}
		r.as("head of %d bytes", size)
		if _, err := r.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(scriptBucket), Key: &key}); err != nil {
			return err
		}
	}
	return nil
}

func (r *script) ranges(ctx context.Context) error {
	for _, bytes := range []string{"0-0", "100-199", "-50", "262100-262200", "200000-", "400000-400001"} {
		r.as("range %s", bytes)
		_, err := r.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String(filled), Range: aws.String("bytes=" + bytes)})
		if err != nil && !strings.Contains(err.Error(), "416") {
			return err
		}
	}
	return nil
}

func (r *script) conditions(ctx context.Context) error {
	r.as("head for the tag")
	head, err := r.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String(filled)})
	if err != nil {
		return err
	}
	r.as("not modified")
	_, err = r.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String(filled), IfNoneMatch: head.ETag})
	if err == nil || !strings.Contains(err.Error(), "304") {
		return fmt.Errorf("if none match: got %w, want 304", err)
	}
	r.as("precondition failed")
	_, err = r.client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String(filled), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	if err == nil || !strings.Contains(err.Error(), "412") {
		return fmt.Errorf("put if none match: got %w, want 412", err)
	}
	return nil
}

func (r *script) missing(ctx context.Context) error {
	r.as("get missing")
	_, err := r.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String("not/there")})
	if err == nil || !strings.Contains(err.Error(), "404") {
		return fmt.Errorf("get missing: got %w, want 404", err)
	}
	r.as("head missing")
	_, err = r.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String("not/there")})
	if err == nil || !strings.Contains(err.Error(), "404") {
		return fmt.Errorf("head missing: got %w, want 404", err)
	}
	return nil
}

func (r *script) multipart(ctx context.Context) error {
	bucket, key := aws.String(scriptBucket), aws.String("multi/part")
	r.as("create multipart upload")
	upload, err := r.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	var done []types.CompletedPart
	for n, size := range []int{5 << 20, 1 << 20} {
		r.as("upload part %d", n)
		number := aws.Int32(int32(n + 1))
		part, err := r.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId, PartNumber: number, Body: bytes.NewReader(content("part", size))})
		if err != nil {
			return err
		}
		done = append(done, types.CompletedPart{ETag: part.ETag, PartNumber: number, ChecksumCRC32: part.ChecksumCRC32})
	}
	r.as("complete multipart upload")
	_, err = r.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}})
	return err
}

func (r *script) listAndDelete(ctx context.Context) error {
	r.as("list")
	if _, err := r.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(scriptBucket), Prefix: aws.String("sizes/")}); err != nil {
		return err
	}
	r.as("delete")
	_, err := r.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String("multi/part")})
	return err
}

// strangers have no right, or a wrong signature.
func (r *script) strangers(ctx context.Context) error {
	r.as("wrong signature")
	_, err := s3Client(r.server.Access, "wrong", r.address, &http.Client{Transport: r.witness}).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(scriptBucket), Key: aws.String(filled)})
	if err == nil || !strings.Contains(err.Error(), "403") {
		return fmt.Errorf("wrong signature: got %w, want 403", err)
	}
	r.as("no signature")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/"+scriptBucket+"/"+filled, nil)
	if err != nil {
		return err
	}
	resp, err := r.witness.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusForbidden {
		err = fmt.Errorf("no signature: got status %d, want 403", resp.StatusCode)
	}
	return err
}
