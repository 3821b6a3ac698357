package tapes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// Deadlines of one S3 operation. The SDK retries within total; who calls Put
// retries beyond it.
const (
	s3Attempt = 30 * time.Second
	s3Total   = 2 * time.Minute
)

// s3Bucket is a Bucket in S3 or in what speaks its protocol.
type s3Bucket struct {
	client *s3.Client
	name   string
	prefix string // "" or ends with '/'
	plain  atomic.Bool
}

var _ Bucket = (*s3Bucket)(nil)

// Put is conditional, so that nothing is ever replaced. Stores that do not
// know the condition get a plain PUT from then on: a tape's key has always the
// same bytes.
func (b *s3Bucket) Put(ctx context.Context, key string, data []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s3Total)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		busy, err := b.tryPut(ctx, key, data)
		if !busy || !sleep(ctx, pause) {
			return err
		}
	}
}

// tryPut puts once. busy: another writer of this key is at it, so what it
// came to is not known yet. A store may refuse a key (412) a moment before
// the other's object can be read.
func (b *s3Bucket) tryPut(ctx context.Context, key string, data []byte) (busy bool, err error) {
	err = b.putOnce(ctx, key, data, !b.plain.Load())
	if conditionUnknown(err) {
		b.plain.Store(true)
		err = b.putOnce(ctx, key, data, false)
	}
	if status(err) == http.StatusPreconditionFailed {
		err = b.compare(ctx, key, data)
		return errors.Is(err, ErrNotFound), err
	}
	if err != nil {
		return status(err) == http.StatusConflict, fmt.Errorf("put %s: %w", b.url(key), err)
	}
	return false, nil
}

func (b *s3Bucket) putOnce(ctx context.Context, key string, data []byte, create bool) error {
	sum := sha256.Sum256(data)
	in := &s3.PutObjectInput{
		Bucket:         &b.name,
		Key:            aws.String(b.prefix + key),
		Body:           bytes.NewReader(data),
		ContentLength:  aws.Int64(int64(len(data))),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}
	if create {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := b.client.PutObject(ctx, in)
	return err
}

// Replace puts without a condition.
func (b *s3Bucket) Replace(ctx context.Context, key string, data []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s3Total)
	defer cancel()
	if err := b.putOnce(ctx, key, data, false); err != nil {
		return fmt.Errorf("replace %s: %w", b.url(key), err)
	}
	return nil
}

// Delete removes an object; a bucket with versions keeps the old one.
func (b *s3Bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s3Total)
	defer cancel()
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + key)})
	if err != nil && status(err) != http.StatusNotFound {
		return fmt.Errorf("delete %s: %w", b.url(key), err)
	}
	return nil
}

// compare tells a second delivery from a clash.
func (b *s3Bucket) compare(ctx context.Context, key string, data []byte) error {
	old, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		return fmt.Errorf("compare with what exists: %w", err)
	}
	if !bytes.Equal(old, data) {
		return fmt.Errorf("put %s: %w", b.url(key), ErrDifferent)
	}
	return nil
}

func (b *s3Bucket) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := errors.Join(checkKey(key), checkRange(offset)); err != nil {
		return nil, fmt.Errorf("get %s: %w", b.url(key), err)
	}
	ctx, cancel := context.WithTimeout(ctx, s3Total)
	defer cancel()
	if length == 0 {
		return nil, b.exists(ctx, key)
	}
	in := &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + key), Range: byteRange(offset, length)}
	out, err := b.client.GetObject(ctx, in)
	switch {
	case status(err) == http.StatusRequestedRangeNotSatisfiable: // begins behind the end
		return nil, nil
	case err != nil:
		return nil, b.readError("get", key, err)
	}
	defer out.Body.Close()
	data, err := readAtMost(out.Body, length)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", b.url(key), err)
	}
	return data, nil
}

func (b *s3Bucket) exists(ctx context.Context, key string) error {
	_, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: aws.String(b.prefix + key)})
	if err != nil {
		return b.readError("look up", key, err)
	}
	return nil
}

func (b *s3Bucket) readError(operation, key string, err error) error {
	if status(err) == http.StatusNotFound && code(err) != "NoSuchBucket" {
		return fmt.Errorf("%s %s: %w", operation, b.url(key), ErrNotFound)
	}
	return fmt.Errorf("%s %s: %w", operation, b.url(key), err)
}

func byteRange(offset, length int64) *string {
	switch {
	case length >= 0:
		return aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+min(length, 1<<40)-1))
	case offset > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	return nil
}

func (b *s3Bucket) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		for page, err := range b.pages(ctx, prefix, nil) {
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			for _, o := range page.Contents {
				key := strings.TrimPrefix(aws.ToString(o.Key), b.prefix)
				if !yield(ObjectInfo{key, aws.ToInt64(o.Size), aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

func (b *s3Bucket) Folders(ctx context.Context, folder string) ([]string, error) {
	var names []string
	for page, err := range b.pages(ctx, folder, aws.String("/")) {
		if err != nil {
			return nil, err
		}
		for _, p := range page.CommonPrefixes {
			name := strings.TrimPrefix(aws.ToString(p.Prefix), b.prefix+folder)
			names = append(names, strings.TrimSuffix(name, "/"))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (b *s3Bucket) pages(ctx context.Context, prefix string, delimiter *string) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
			Bucket: &b.name, Prefix: aws.String(b.prefix + prefix), Delimiter: delimiter,
		})
		for pages.HasMorePages() {
			page, err := b.nextPage(ctx, pages)
			if err != nil {
				yield(nil, fmt.Errorf("list %s: %w", b.url(prefix), err))
				return
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

func (b *s3Bucket) nextPage(ctx context.Context, pages *s3.ListObjectsV2Paginator) (*s3.ListObjectsV2Output, error) {
	ctx, cancel := context.WithTimeout(ctx, s3Total)
	defer cancel()
	return pages.NextPage(ctx)
}

func (b *s3Bucket) url(key string) string { return "s3://" + b.name + "/" + b.prefix + key }

func (b *s3Bucket) String() string { return b.url("") }

// conditionUnknown: the store says that it can't do If-None-Match.
func conditionUnknown(err error) bool {
	return status(err) == http.StatusNotImplemented || code(err) == "NotImplemented"
}

// status is the HTTP status of a response that the SDK made an error of; 0
// without one.
func status(err error) int {
	if e, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// sleep waits and says whether there is time left.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
