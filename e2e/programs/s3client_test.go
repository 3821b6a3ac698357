package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"tapedeck/internal/s3test"
)

// s3Variable makes this binary a program that uses the S3 server at $ENDPOINT
// with aws-sdk-go-v2, and says what it sees.
const s3Variable = "TAPEDECK_TEST_S3"

type s3Program struct {
	*s3.Client
	bucket *string
}

// telling says what is called, on stderr.
type telling struct{ s3.HTTPClient }

func (t telling) Do(r *http.Request) (*http.Response, error) {
	fmt.Fprintf(os.Stderr, "call %s %s://%s%s\n", r.Method, r.URL.Scheme, r.URL.Host, r.URL.EscapedPath())
	return t.HTTPClient.Do(r)
}

func useS3(ctx context.Context) error {
	p := &s3Program{bucket: aws.String(os.Getenv("BUCKET"))}
	p.Client = s3.New(s3.Options{
		Region: s3test.Region, UsePathStyle: true, BaseEndpoint: aws.String(os.Getenv("ENDPOINT")), RetryMaxAttempts: 1,
		HTTPClient:  telling{awshttp.NewBuildableClient()}, // with its own proxy and trust
		Credentials: credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})
	for _, step := range []func(context.Context) error{p.putAndGet, p.conditions, p.multipart, p.presigned, p.list} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func s3Data(size int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size] }

// putAndGet sends each body whole, and streamed: aws-chunked, with its checksum
// as a trailer.
func (p *s3Program) putAndGet(ctx context.Context) error {
	for _, size := range []int{0, 1000, 300_000} {
		if err := p.roundTrip(ctx, "whole", size, bytes.NewReader(s3Data(size))); err != nil {
			return err
		}
		streamed := func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported }
		if err := p.roundTrip(ctx, "streamed", size, io.LimitReader(bytes.NewReader(s3Data(size)), int64(size)), streamed); err != nil {
			return err
		}
	}
	return nil
}

func (p *s3Program) roundTrip(ctx context.Context, kind string, size int, body io.Reader, options ...func(*s3.Options)) error {
	key := aws.String(fmt.Sprintf("%s/%d ä", kind, size))
	put, err := p.PutObject(ctx, &s3.PutObjectInput{Bucket: p.bucket, Key: key, Body: body, ContentLength: aws.Int64(int64(size))}, options...)
	if err != nil {
		return err
	}
	got, err := p.GetObject(ctx, &s3.GetObjectInput{Bucket: p.bucket, Key: key})
	if err != nil {
		return err
	}
	if b, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(b, s3Data(size)) {
		return fmt.Errorf("got %d bytes of %d, %w", len(b), size, err)
	}
	fmt.Println("put and got", *key, *put.ETag, *got.ContentLength, aws.ToString(put.ChecksumCRC32))
	return nil
}

func (p *s3Program) conditions(ctx context.Context) error {
	key := aws.String("once")
	for range 2 { // only the first is new
		put, err := p.PutObject(ctx, &s3.PutObjectInput{Bucket: p.bucket, Key: key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
		if err := said(err, 412); err != nil {
			return err
		}
		if put != nil {
			_, err := p.GetObject(ctx, &s3.GetObjectInput{Bucket: p.bucket, Key: key, IfNoneMatch: put.ETag})
			if err := said(err, 304); err != nil {
				return err
			}
		}
	}
	_, err := p.GetObject(ctx, &s3.GetObjectInput{Bucket: p.bucket, Key: aws.String("nothing")})
	return said(err, 404)
}

// said prints the answer; an error of another status is one.
func said(err error, status int) error {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if err != nil && (!ok || answer.HTTPStatusCode() != status) {
		return err
	}
	fmt.Println("refused:", err != nil, status)
	return nil
}

func (p *s3Program) multipart(ctx context.Context) error {
	key := aws.String("parts")
	upload, err := p.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: p.bucket, Key: key})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for i, size := range []int{5 << 20, 1000} {
		number := aws.Int32(int32(i + 1))
		part, err := p.UploadPart(ctx, &s3.UploadPartInput{Bucket: p.bucket, Key: key, UploadId: upload.UploadId, PartNumber: number, Body: bytes.NewReader(s3Data(size))})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{ETag: part.ETag, PartNumber: number, ChecksumCRC32: part.ChecksumCRC32})
	}
	done, err := p.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: p.bucket, Key: key, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err == nil {
		fmt.Println("multipart", *done.ETag)
	}
	return err
}

// presigned URLs are used by a client that knows no S3.
func (p *s3Program) presigned(ctx context.Context) error {
	signer, key := s3.NewPresignClient(p.Client), aws.String("presigned")
	put, err := signer.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: p.bucket, Key: key})
	if err != nil {
		return err
	}
	get, err := signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: p.bucket, Key: key})
	if err != nil {
		return err
	}
	for _, r := range []struct{ method, url, body string }{{http.MethodPut, put.URL, "signed"}, {http.MethodGet, get.URL, ""}} {
		request, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
		if err != nil {
			return err
		}
		answer, err := telling{http.DefaultClient}.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		fmt.Println("presigned", answer.StatusCode, string(body), err)
	}
	return nil
}

func (p *s3Program) list(ctx context.Context) error {
	list, err := p.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: p.bucket})
	if err != nil {
		return err
	}
	for _, o := range list.Contents {
		fmt.Println("listed", *o.Key, *o.Size)
	}
	_, err = p.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: p.bucket, Key: aws.String("parts")})
	return err
}
