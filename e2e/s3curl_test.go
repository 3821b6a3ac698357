package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// presigned is a URL that curl can use without knowing S3.
func (r *script) presigned(ctx context.Context, method, key string) (string, error) {
	client := s3.NewPresignClient(r.client)
	bucket := aws.String(scriptBucket)
	switch method {
	case http.MethodPut:
		u, err := client.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key})
		if err != nil {
			return "", err
		}
		return u.URL, nil
	case http.MethodHead:
		u, err := client.PresignHeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: &key})
		if err != nil {
			return "", err
		}
		return u.URL, nil
	}
	u, err := client.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})
	if err != nil {
		return "", err
	}
	return u.URL, nil
}

// curlCall is one transfer of a curl process.
type curlCall struct {
	name   string
	method string
	key    string
	body   []byte
	args   []string
	url    string // empty: presigned
}

func (r *script) curl(ctx context.Context) error {
	large := content("curl", 3<<20)
	chunked, err := r.curlChunked(ctx, "curl: put in chunks in chunks", "curl/chunked", 2<<20)
	if err != nil {
		return err
	}
	for _, process := range [][]curlCall{
		{{name: "curl: put with a length", method: "PUT", key: "curl/length", body: content("curl", 1000)}},
		{{name: "curl: put with Expect", method: "PUT", key: "curl/expect", body: large, args: []string{"-H", "Expect: 100-continue"}}},
		{{name: "curl: put in chunks", method: "PUT", key: "curl/chunks", body: content("curl", 1000), args: []string{"-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"}}},
		{{name: "curl: put in chunks, no Expect", method: "PUT", key: "curl/chunks2", body: content("curl", 2000), args: []string{"-H", "Transfer-Encoding: chunked", "-H", "Expect:"}}},
		{chunked},
		{{name: "curl: put nothing", method: "PUT", key: "curl/nothing", body: []byte{}}},
		{{name: "curl: keep-alive 1", method: "GET", key: "curl/length"}, {name: "curl: keep-alive 2", method: "GET", key: filled, args: []string{"-r", "5-10"}},
			{name: "curl: keep-alive 3", method: "HEAD", key: filled, args: []string{"--head"}}, {name: "curl: keep-alive 4", method: "GET", key: "not/there"}},
		{{name: "curl: HTTP/1.0", method: "GET", key: filled, args: []string{"--http1.0"}}},
		{{name: "curl: close", method: "GET", key: "curl/expect", args: []string{"-H", "Connection: close"}}},
		{{name: "curl: compressed", method: "GET", key: "curl/length", args: []string{"-H", "Accept-Encoding: gzip, br"}}},
	} {
		if err := r.curlProcess(ctx, process); err != nil {
			return err
		}
	}
	return nil
}

// curlProcess runs one curl with one or more transfers, which share a
// connection.
func (r *script) curlProcess(ctx context.Context, transfers []curlCall) error {
	dir, err := os.MkdirTemp(r.t.TempDir(), "curl")
	if err != nil {
		return err
	}
	file := func(kind string, i int) string { return filepath.Join(dir, fmt.Sprintf("%s-%d", kind, i)) }
	args := []string{"-q"} // no configuration of the user's
	for i, c := range transfers {
		u, err := c.url, error(nil)
		if u == "" {
			u, err = r.presigned(ctx, c.method, c.key)
		}
		if err != nil {
			return err
		}
		if i > 0 {
			args = append(args, "--next")
		}
		args = append(args, "-sS", "--max-time", "60", "-D", file("head", i), "-o", file("body", i))
		if c.body != nil {
			if err := os.WriteFile(file("upload", i), c.body, 0o600); err != nil {
				return err
			}
			args = append(args, "-T", file("upload", i))
		}
		args = append(append(args, c.args...), u)
	}
	begun := time.Now()
	cmd := exec.CommandContext(ctx, "curl", args...)
	cmd.Env = append(os.Environ(), "no_proxy=*", "NO_PROXY=*")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", transfers[0].name, err, out)
	}
	ended := time.Now()
	for i, c := range transfers {
		head, err := os.ReadFile(file("head", i))
		if err != nil {
			return err
		}
		body, err := os.ReadFile(file("body", i)) // curl makes no file for an empty body
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if c.method == http.MethodHead {
			body = nil // --head writes the head there
		}
		x := &call{name: c.name, method: c.method, path: "/" + scriptBucket + "/" + c.key, request: c.body, response: body, begun: begun.Add(time.Duration(i)), ended: ended}
		if err := x.readHeads(string(head)); err != nil {
			return err
		}
		x.partial = x.status == http.StatusLengthRequired // VersityGW takes no body without a length
		r.calls.add(x)
	}
	return nil
}

// readHeads reads the status out of the heads that curl wrote down: interim
// ones, then the final one.
func (c *call) readHeads(text string) error {
	heads := strings.Split(strings.TrimSuffix(text, "\r\n\r\n"), "\r\n\r\n")
	c.interim, c.head = len(heads)-1, strings.ReplaceAll(text, "\r", "")
	line, _, _ := strings.Cut(heads[len(heads)-1], "\r\n")
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &c.status); err != nil {
		return fmt.Errorf("%s: head %q: %w", c.name, line, err)
	}
	return nil
}

// pipeline sends several requests before it reads an answer.
func (r *script) pipeline(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	var requests bytes.Buffer
	var sent []*call
	for i, want := range []struct{ method, key string }{{"GET", filled}, {"HEAD", filled}, {"GET", "not/there"}, {"PUT", "pipe/lined"}, {"GET", "curl/length"}, {"GET", "curl/length"}} {
		u, err := r.presigned(ctx, want.method, want.key)
		if err != nil {
			return err
		}
		_, target, _ := strings.Cut(u, r.address)
		c := &call{name: fmt.Sprintf("pipeline %d", i), method: want.method, path: "/" + scriptBucket + "/" + want.key}
		fmt.Fprintf(&requests, "%s %s HTTP/1.1\r\nhost: %s\r\nX-Case: Kept\r\n", want.method, target, r.address)
		if want.method == "PUT" {
			c.request = content("pipe", 500)
			fmt.Fprintf(&requests, "Content-Length: %d\r\n", len(c.request))
		}
		fmt.Fprintf(&requests, "\r\n%s", c.request)
		sent = append(sent, c)
	}
	begun := time.Now()
	if _, err := conn.Write(requests.Bytes()); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	for i, c := range sent {
		resp, err := http.ReadResponse(answers, &http.Request{Method: c.method})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if c.response, err = io.ReadAll(resp.Body); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		c.status, c.head, c.begun, c.ended = resp.StatusCode, headOf(resp), begun.Add(time.Duration(i)), time.Now()
		r.calls.add(c)
	}
	return nil
}
