package redact

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tapedeck/events"
)

// benchExchange is a log-in's answer, an order and a list: 2 KiB of JSON with
// what an API sends, eight values in it to be replaced.
func benchBody() []byte {
	var b strings.Builder
	b.WriteString(`{"customer":{"id":"5f0c1d7e-8a51-4c1e-9a53-1c5b7c2d9e10","email":"ada.lovelace@example.com","phone":"+44 20 7946 0958","first_name":"Ada","last_name":"Lovelace","created_at":"2026-11-28T10:00:00Z"},"access_token":"0f8fad5bd9cb469fa165","card":"4242424242424242","items":[`)
	for i := 0; b.Len() < 1980; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"sku":"sku-%04d","name":"a product of the shop","price":%d.50,"quantity":%d,"tags":["new","sale"],"url":"https://shop.example/p/%d"}`, 1000+i, i, 10+i, 1+i%3, i)
	}
	b.WriteString(`],"note":"call me"}`)
	return []byte(b.String())
}

func benchExchange(body []byte) *events.Exchange {
	field := func(name, value string) *events.Field { return &events.Field{Name: []byte(name), Value: []byte(value)} }
	return &events.Exchange{
		Request: &events.Request{Method: "GET", Target: "/api/v1/customers/17/orders?limit=20&page=2", Headers: []*events.Field{
			field("Host", "shop.example"), field("User-Agent", "curl/8.5.0"), field("Accept", "application/json"), field("Authorization", "Bearer abcdefghijklmnop")}},
		Response: &events.Response{Status: "200", Headers: []*events.Field{
			field("Content-Type", "application/json"), field("Content-Length", "2048"), field("Date", "Sat, 28 Nov 2026 12:00:00 GMT"), field("Cache-Control", "no-store")},
			Body: &events.Body{Data: body}},
	}
}

// cpu is the time that this process was on a core: the machine may be shared.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExchange redacts whole exchanges with the rules that are on by
// default; MB/s counts the bytes of the body.
func BenchmarkExchange(b *testing.B) {
	for _, mode := range []string{"on", "headers"} {
		b.Run(mode, func(b *testing.B) {
			e := New(testKey(b))
			if mode == "headers" {
				e = NewHeaders(testKey(b))
			}
			body := benchBody()
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var out []byte
			began, n := cpu(), 0
			fresh := benchExchange(body)
			request, response := fresh.Request.Headers, fresh.Response.Headers
			values := [][]byte{}
			for _, f := range append(slices.Clone(request), response...) {
				values = append(values, f.Value)
			}
			for b.Loop() {
				n++
				x := fresh
				for i, f := range request {
					f.Value = values[i]
				}
				x.Redactions = nil
				r := e.Body(x, events.Side_RESPONSE, body)
				out = r.Close(r.Write(out[:0], body))
				e.Head(x)
			}
			b.ReportMetric(float64(n*len(body))/(cpu()-began).Seconds()/1e6, "MB/cpu-s")
		})
	}
}

// BenchmarkBody is JSON in which nothing is found.
func BenchmarkBody(b *testing.B) {
	in := []byte(`{"items":[` + strings.Repeat(`{"id":"0192a0c4","name":"a product","price":12.5,"tags":["a","b"]},`, 28) + `{}]}`)
	e := New(testKey(b))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var out []byte
	began, n := cpu(), 0
	for b.Loop() {
		n++
		body := newBody(e)
		out = body.Close(body.Write(out[:0], in))
	}
	b.ReportMetric(float64(n*len(in))/(cpu()-began).Seconds()/1e6, "MB/cpu-s")
}

// BenchmarkValid is what the standard library takes to step over the same
// body: the machine's measure.
func BenchmarkValid(b *testing.B) {
	body := benchBody()
	b.SetBytes(int64(len(body)))
	began, n := cpu(), 0
	for b.Loop() {
		n++
		if !json.Valid(body) {
			b.Fatal("no JSON")
		}
	}
	b.ReportMetric(float64(n*len(body))/(cpu()-began).Seconds()/1e6, "MB/cpu-s")
}
