package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// problem is an answer that is no success.
type problem struct {
	Status  int    `json:"-"`
	Code    string `json:"error"`
	Message string `json:"message"`
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Message) }

// endpoint is a handler that returns what to answer.
type endpoint func(r *http.Request) (status int, body any, err error)

func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body, err := e(r)
	if p, ok := err.(*problem); ok {
		status, body = p.Status, p
	} else if err != nil {
		status, body = http.StatusBadGateway, &problem{Code: "unavailable", Message: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error means that the client is gone
}

// read decodes the body of a request.
func read[T any](r *http.Request) (T, error) {
	var v T
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&v); err != nil {
		return v, &problem{http.StatusBadRequest, "bad_request", "the body is not the JSON that is asked for"}
	}
	return v, nil
}

// client calls other services.
type client struct{ http *http.Client }

// newClient makes a client that finds hosts by connect, else by DNS.
func newClient(connect map[string]string) *client {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if _, ok := connect[r.URL.Host]; ok {
				return nil, nil // it is known where that is
			}
			return http.ProxyFromEnvironment(r)
		},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if to, ok := connect[strings.TrimSuffix(address, ":80")]; ok {
				address = to
			}
			return dialer.DialContext(ctx, network, address)
		},
		MaxIdleConnsPerHost: 8,
	}
	return &client{&http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

// call sends a request within the trace of ctx and decodes the answer into out.
func (c *client) call(ctx context.Context, method, url string, headers map[string]string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Traceparent", childOf(ctx))
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer answer.Body.Close()
	return decode(answer, out)
}

func decode(answer *http.Response, out any) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode >= 400 {
		p := &problem{Status: answer.StatusCode}
		if json.Unmarshal(body, p) != nil || p.Code == "" {
			p.Code, p.Message = "unavailable", strings.TrimSpace(string(body))
		}
		return p
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("answer of %s: %w", answer.Request.URL.Host, err)
	}
	return nil
}

type traceKey struct{}

// withTrace keeps the caller's trace, or begins one (W3C Trace Context).
func withTrace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace := randomHex(16)
		if parts := strings.Split(r.Header.Get("Traceparent"), "-"); len(parts) == 4 && len(parts[1]) == 32 {
			trace = parts[1]
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), traceKey{}, trace)))
	})
}

// childOf is a traceparent of a new span in the trace of ctx.
func childOf(ctx context.Context) string {
	trace, ok := ctx.Value(traceKey{}).(string)
	if !ok {
		trace = randomHex(16)
	}
	return "00-" + trace + "-" + randomHex(8) + "-01"
}

// newID is a random UUID (RFC 9562, version 4).
func newID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
