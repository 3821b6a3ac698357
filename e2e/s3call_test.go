package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// call is one exchange as its client saw it: the truth that a recording is held
// against.
type call struct {
	name     string // what it is for
	method   string
	path     string // as sent, without the query
	status   int
	interim  int    // answers before the final one
	request  []byte // body, transfer coding removed
	partial  bool   // answered before the body was sent: any part of it may have gone
	response []byte
	head     string // of the response, as far as the client tells
	begun    time.Time
	ended    time.Time
}

func (c *call) String() string {
	return fmt.Sprintf("%s: %s %s → %d, %d bytes up, %d down", c.name, c.method, c.path, c.status, len(c.request), len(c.response))
}

// calls collects what clients saw.
type calls struct {
	mu  sync.Mutex
	all []*call
}

func (c *calls) add(x *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, x)
}

// inOrder is by the time they were begun.
func (c *calls) inOrder() []*call {
	slices.SortStableFunc(c.all, func(x, y *call) int { return x.begun.Compare(y.begun) })
	return c.all
}

// witness is a RoundTripper that writes down what it carries.
type witness struct {
	transport *http.Transport
	calls     *calls
	name      string // of the calls that follow
}

func newWitness(c *calls) *witness {
	return &witness{calls: c, transport: &http.Transport{
		DisableCompression:    true, // bytes as they are
		ExpectContinueTimeout: 10 * time.Second,
		MaxIdleConnsPerHost:   4,
	}}
}

func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	c := &call{name: w.name, method: r.Method, path: r.URL.EscapedPath(), begun: time.Now()}
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { c.interim++; return nil },
	})
	r = r.Clone(ctx)
	var sent bytes.Buffer
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &sent), r.Body}
		r.GetBody = nil // what is sent twice would be two calls
	}
	resp, err := w.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.response, err = io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(c.response))
	c.ended, c.status, c.request = time.Now(), resp.StatusCode, sent.Bytes()
	c.head = headOf(resp)
	w.calls.add(c)
	return resp, nil
}

func headOf(r *http.Response) string {
	var lines []string
	for name, values := range r.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s %s %d %v\n%s", r.Proto, r.Status, r.ContentLength, r.TransferEncoding, strings.Join(lines, "\n"))
}

// What differs between two runs on two servers without meaning.
var volatile = []*regexp.Regexp{
	regexp.MustCompile(`(?im)^((?:Date|Last-Modified|X-Amz-Request-Id|X-Amz-Id-2): ).*$`),
	regexp.MustCompile(`(<(?:RequestId|HostId|LastModified|CreationDate|UploadId|Initiated|ServerTime|AWSAccessKeyId|StringToSign|StringToSignBytes|SignatureProvided|CanonicalRequest|CanonicalRequestBytes)>)[^<]*`),
	regexp.MustCompile(`(X-Amz-(?:Date|Signature|Credential)=)[^&< ]*`),
	regexp.MustCompile(`()127\.0\.0\.1:\d+`),
}

func steady(s string) string {
	for _, v := range volatile {
		s = v.ReplaceAllString(s, "${1}…")
	}
	return s
}

// sameView fails when the clients of two equal servers saw different things.
func sameView(t *testing.T, direct, relayed []*call) {
	t.Helper()
	if len(direct) != len(relayed) {
		t.Fatalf("%d calls without us, %d with us", len(direct), len(relayed))
	}
	for i, want := range direct {
		got := relayed[i]
		if diff := gocmp.Diff(view(want), view(got)); diff != "" {
			t.Errorf("call %d, %s (-without us +with us):\n%s", i, want.name, diff)
		}
	}
}

type seen struct {
	Name, Method, Path, Head, Response string
	Status, Interim, Request           int
}

func view(c *call) seen {
	v := seen{Name: c.name, Method: c.method, Path: uploadID.ReplaceAllString(c.path, "…"), Head: sorted(steady(c.head)), Status: c.status, Interim: c.interim, Request: len(c.request)}
	if v.Response = steady(string(c.response)); len(v.Response) > 4096 { // objects: no diff of megabytes
		v.Response = fmt.Sprintf("%d bytes, %x", len(c.response), sum(c.response))
	}
	return v
}

// sorted forgets the order of header lines, which VersityGW shuffles.
func sorted(head string) string {
	lines := strings.Split(head, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var uploadID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

func sum(b []byte) (h uint64) {
	h = 14695981039346656037 // FNV-1a
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return cmp.Or(h, 1)
}
