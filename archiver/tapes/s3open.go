package tapes

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// openS3 makes a bucket of "s3://bucket/prefix?endpoint=…&region=…&path-style=…".
// Nothing is asked of the store yet.
func openS3(u *url.URL) (*s3Bucket, error) {
	query := u.Query()
	for key := range query {
		if key != "endpoint" && key != "region" && key != "path-style" {
			return nil, fmt.Errorf("archive %s: unknown parameter %q, want endpoint, region or path-style", u.Redacted(), key)
		}
	}
	if u.Host == "" {
		return nil, fmt.Errorf("archive %s names no bucket, want s3://bucket/prefix", u.Redacted())
	}
	endpoint := query.Get("endpoint")
	if e, err := url.Parse(endpoint); err != nil || endpoint != "" && (e.Host == "" || e.Scheme != "http" && e.Scheme != "https") {
		return nil, fmt.Errorf("archive %s: endpoint %q is no URL like https://s3.example.com", u.Redacted(), endpoint)
	}
	// Stores of one's own rarely have a host name a bucket.
	pathStyle := endpoint != ""
	if s := query.Get("path-style"); s != "" {
		var err error
		if pathStyle, err = strconv.ParseBool(s); err != nil {
			return nil, fmt.Errorf("archive %s: path-style %q is neither true nor false", u.Redacted(), s)
		}
	}
	provider, err := environmentCredentials()
	if err != nil {
		return nil, fmt.Errorf("archive s3://%s: %w", u.Host, err)
	}
	return &s3Bucket{
		client: s3.New(s3.Options{
			Region:       firstOf(query.Get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1"),
			Credentials:  aws.NewCredentialsCache(provider),
			BaseEndpoint: optional(endpoint),
			UsePathStyle: pathStyle,
			HTTPClient: awshttp.NewBuildableClient().WithTimeout(s3Attempt).WithTransportOptions(func(t *http.Transport) {
				t.MaxIdleConnsPerHost = 32
			}),
			// Checksums that are not asked for come as trailers, which many
			// stores refuse; Put sends one of its own.
			RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
			ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		}),
		name:   u.Host,
		prefix: s3Prefix(u.Path),
	}, nil
}

func environmentCredentials() (aws.CredentialsProvider, error) {
	id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		return nil, errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return credentials.NewStaticCredentialsProvider(id, secret, os.Getenv("AWS_SESSION_TOKEN")), nil
}

func s3Prefix(path string) string {
	path = strings.Trim(path, "/")
	if path == "" {
		return ""
	}
	return path + "/"
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
