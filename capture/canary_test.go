package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// canary is a secret and the request that carries it. The server answers with
// the same body and headers.
type canary struct {
	secret      string
	path, query string
	headers     map[string]string
	contentType string
	body        string
	coding      string
	trailer     bool
}

// canaries are secrets, each made anew, in every place and encoding.
func canaries(n int) []canary {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	var all []canary
	for i := range n {
		place := canaryPlaces[i%len(canaryPlaces)]
		secret := seen(r, i/len(canaryPlaces))
		if place.named {
			secret = word(r, 20)
		}
		c := place.put(secret)
		c.secret = secret
		all = append(all, c)
	}
	return all
}

func word(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)]
	}
	return string(b)
}

func digit(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(10))
	}
	return string(b)
}

// seen are secrets that are known by their looks.
func seen(r *rand.Rand, kind int) string {
	switch kind % 8 {
	case 0:
		return word(r, 8) + "@" + word(r, 6) + ".example.com"
	case 1:
		return luhn("4" + digit(r, 14))
	case 2:
		return luhn("51" + digit(r, 13))
	case 3:
		return fmt.Sprintf("%03d-%02d-%04d", 1+r.IntN(600), 1+r.IntN(99), 1000+r.IntN(8999))
	case 4:
		return "AKIA" + strings.ToUpper(word(r, 16))
	case 5:
		return "ghp_" + word(r, 36)
	case 6:
		return "xoxb-" + digit(r, 12) + "-" + word(r, 24)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256"}`) + "." + part(`{"sub":"`+word(r, 12)+`"}`) + "." + word(r, 43)
}

func luhn(digits string) string {
	for c := '0'; ; c++ {
		s, sum := digits+string(c), 0
		for i := range len(s) {
			d := int(s[len(s)-1-i] - '0')
			if i%2 == 1 {
				if d *= 2; d > 9 {
					d -= 9
				}
			}
			sum += d
		}
		if sum%10 == 0 {
			return s
		}
	}
}

const jsonType, formType = "application/json", "application/x-www-form-urlencoded"

var canaryPlaces = []struct {
	named bool // by its name alone
	put   func(s string) canary
}{
	{true, func(s string) canary { return canary{query: "access_token=" + s} }},
	{false, func(s string) canary { return canary{query: "q=" + url.QueryEscape(s)} }},
	{false, func(s string) canary { return canary{query: "q=" + url.QueryEscape(url.QueryEscape(s))} }},
	{false, func(s string) canary { return canary{path: "/users/" + url.PathEscape(s) + "/orders"} }},
	{true, func(s string) canary { return canary{headers: map[string]string{"Authorization": "Bearer " + s}} }},
	{true, func(s string) canary { return canary{headers: map[string]string{"Authorization": s}} }},
	{true, func(s string) canary {
		return canary{headers: map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+s))}}
	}},
	{true, func(s string) canary { return canary{headers: map[string]string{"Cookie": "a=b; sid=" + s}} }},
	{true, func(s string) canary {
		return canary{headers: map[string]string{"Set-Cookie": "sid=" + s + "; Path=/"}}
	}},
	{true, func(s string) canary { return canary{headers: map[string]string{"X-Api-Key": s}} }},
	{false, func(s string) canary { return canary{headers: map[string]string{"X-Note": "for " + s}} }},
	{true, func(s string) canary {
		return canary{headers: map[string]string{"Referer": "https://u:" + s + "@shop.example/a"}}
	}},
	{true, func(s string) canary {
		return canary{headers: map[string]string{"Location": "https://shop.example/cb?n=1#access_token=" + s}}
	}},
	{true, func(s string) canary {
		return canary{headers: map[string]string{"Trace-State-Bin": base64.RawStdEncoding.EncodeToString([]byte(s))}}
	}},
	{false, func(s string) canary { return canary{headers: map[string]string{"X-End": s}, trailer: true} }},
	{true, func(s string) canary { return canary{contentType: formType, body: "user=ada&password=" + s} }},
	{false, func(s string) canary {
		return canary{contentType: formType, body: "n=1&note=" + url.QueryEscape("x "+s)}
	}},
	{true, func(s string) canary { return multipartCanary(`name="password"`, s) }},
	{false, func(s string) canary { return multipartCanary(`name="note"`, "see "+s) }},
	{false, func(s string) canary { return multipartCanary(`name="f"; filename="`+s+`.txt"`, "x") }},
	{true, func(s string) canary { return canary{contentType: jsonType, body: `{"user":{"password":"` + s + `"}}`} }},
	{true, func(s string) canary {
		return canary{contentType: jsonType, body: `{"password":"x","password":"` + s + `"}`}
	}},
	{true, func(s string) canary {
		return canary{contentType: jsonType, body: `{"p\u0061ssword":"\u00` + hex.EncodeToString([]byte(s[:1])) + s[1:] + `"}`}
	}},
	{true, func(s string) canary {
		return canary{contentType: jsonType, body: `{"tokens":[],"token":["` + s + `"]}`}
	}},
	{false, func(s string) canary { return canary{contentType: jsonType, body: `{"note":"call ` + s + ` now"}`} }},
	{false, func(s string) canary { return canary{contentType: jsonType, body: `{"` + s + `":{"n":1}}`} }},
	{false, func(s string) canary {
		return canary{contentType: jsonType, body: `{"x":` + quoted(`{"y":"`+s+`"}`) + `}`}
	}},
	{true, func(s string) canary {
		return canary{contentType: jsonType, body: `{"x":` + quoted(`{"y":`+quoted(`{"secret":"`+s+`"}`)+`}`) + `}`}
	}},
	{false, func(s string) canary {
		return canary{contentType: jsonType, body: `{"x":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"}`}
	}},
	{false, func(s string) canary {
		return canary{contentType: jsonType, body: `{"x":"` + base64.StdEncoding.EncodeToString([]byte(base64.URLEncoding.EncodeToString([]byte(s)))) + `"}`}
	}},
	{false, func(s string) canary { return packedCanary("gzip", s) }},
	{false, func(s string) canary { return packedCanary("br", s) }},
	{false, func(s string) canary { return packedCanary("zstd", s) }},
	{false, func(s string) canary {
		return canary{contentType: "application/xml", body: `<o><c n="` + s + `">x</c></o>`}
	}},
	{true, func(s string) canary {
		return canary{contentType: "text/xml", body: `<s:E xmlns:s="x"><s:Password>` + s + `</s:Password></s:E>`}
	}},
	{false, func(s string) canary { return canary{contentType: "text/plain", body: "Dear " + s + ",\nhello"} }},
	{true, func(s string) canary {
		return canary{contentType: "text/plain", body: "level=info password=" + s + " n=1"}
	}},
	{false, func(s string) canary { return canary{contentType: "text/html", body: "<p>Mail " + s + "<br>"} }},
	{false, func(s string) canary {
		return canary{contentType: "text/plain", body: strings.Repeat("a line of a long text\n", 20_000) + s + "\n" + strings.Repeat("and on\n", 100)}
	}},
	{false, func(s string) canary {
		return canary{contentType: "application/x-protobuf", body: "\x08\x01\x12" + string([]byte{byte(len(s) + 2)}) + "\x0a" + string([]byte{byte(len(s))}) + s}
	}},
	{false, func(s string) canary {
		return canary{contentType: "application/octet-stream", body: "\xff\xfe\x00\x01 " + s + " \x00\xff"}
	}},
	{false, func(s string) canary {
		return canary{contentType: "text/event-stream", body: "event: x\ndata: {\"a\":\"" + s + "\"}\n\n"}
	}},
	{true, func(s string) canary {
		return canary{contentType: "text/event-stream", body: "data: {\ndata: \"secret\":\"" + s + "\"}\n\n"}
	}},
	{true, func(s string) canary {
		return canary{contentType: jsonType, body: `{"list":[` + strings.Repeat(`{"n":1,"text":"some words"},`, 12_000) + `{"refresh_token":"` + s + `"}]}`}
	}},
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func multipartCanary(disposition, value string) canary {
	return canary{contentType: "multipart/form-data; boundary=b0b", body: "--b0b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n--b0b--\r\n"}
}

func packedCanary(coding, secret string) canary {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	default:
		w, _ = zstd.NewWriter(&b)
	}
	io.WriteString(w, `{"note":"`+secret+`"}`)
	w.Close()
	return canary{contentType: jsonType, coding: coding, body: b.String()}
}

// mirror answers with what it is sent: the body, the X- and the URL headers.
func mirror(t testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, values := range r.Header {
			if name != "Connection" && name != "Content-Length" && name != "Te" && name != "Accept-Encoding" {
				w.Header()[name] = values
			}
		}
		w.Write(body)
	}))
	t.Cleanup(s.Close)
	return address(s)
}

func (c canary) send(t testing.TB, web *http.Client, base string) {
	t.Helper()
	target := base + "/a" + c.path
	if c.query != "" {
		target += "?" + c.query
	}
	request, err := http.NewRequest("POST", target, io.NopCloser(strings.NewReader(c.body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	if c.contentType != "" {
		request.Header.Set("Content-Type", c.contentType)
	}
	if c.coding != "" {
		request.Header.Set("Content-Encoding", c.coding)
	}
	if c.trailer {
		request.Trailer = http.Header{}
	}
	for name, value := range c.headers {
		if c.trailer {
			request.Trailer.Set(name, value)
		} else {
			request.Header.Set(name, value)
		}
	}
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := web.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if string(got) != c.body {
		t.Errorf("the client was answered %d bytes, want its %d", len(got), len(c.body))
	}
}

// TestCanaries sends 2,000 secrets through capture and looks for them in all
// that was written: raw, in base64, hex and percent-encoding. With redaction
// off all of them are found.
func TestCanaries(t *testing.T) {
	for _, mode := range []string{"on", "off"} {
		all := canaries(2000)
		if mode == "off" {
			all = canaries(len(canaryPlaces))
		}
		store, dir := t.TempDir(), t.TempDir()
		_, _, js := natstest.Start(t, store)
		if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true, MaxBytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		metrics := prometheus.NewRegistry()
		deps := Deps{JS: js, Data: dir, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Register: metrics}
		upstream := mirror(t)
		c := start(t, Config{Inbound: []string{"0=" + upstream}, Redact: mode, OnPressure: "block"}, deps)
		web := client(t, "")
		for _, k := range all {
			k.send(t, web, c.url(0))
		}
		c.stop()
		spooled := start(t, Config{Inbound: []string{"0=" + upstream}, Redact: mode, OnPressure: "block"}, Deps{Data: dir, Log: deps.Log})
		for _, k := range all[:len(canaryPlaces)] {
			k.send(t, web, spooled.url(0))
		}
		spooled.stop()
		sinks := sinksOf(t, js, store, dir)
		sinks["log"], sinks["metrics"] = log.Bytes(), gathered(t, metrics)
		checkSinks(t, mode, all, sinks)
	}
}

// sinksOf are the bytes of all that was written, packed and unpacked.
func sinksOf(t *testing.T, js jetstream.JetStream, folders ...string) map[string][]byte {
	sinks := map[string][]byte{}
	unpack := func(name string, tape *events.Tape) {
		sinks[name] = append(sinks[name], tape.Index.String()+tape.Header.String()...)
		for i := range tape.Index.Blocks {
			raw, err := tape.Block(uint32(i))
			if err != nil {
				t.Fatal(err)
			}
			sinks[name] = append(sinks[name], raw...)
		}
	}
	for _, tape := range tapesOf(t, js) {
		unpack("tapes", tape)
	}
	for _, dir := range folders {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			sinks["files"] = append(sinks["files"], raw...)
			if tape, err := events.ParseTape(raw); err == nil {
				unpack("spool", tape)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(sinks["tapes"]) == 0 || len(sinks["spool"]) == 0 {
		t.Fatalf("tapes of %d bytes, spooled ones of %d: this looks at nothing", len(sinks["tapes"]), len(sinks["spool"]))
	}
	return sinks
}

func gathered(t *testing.T, metrics *prometheus.Registry) []byte {
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Append(nil, families)
}

// checkSinks looks for every secret in every form, in one pass over each sink.
func checkSinks(t *testing.T, mode string, all []canary, sinks map[string][]byte) {
	t.Helper()
	type needle struct {
		text string
		of   int
	}
	needles := map[string][]needle{}
	for i, k := range all {
		for _, text := range forms(k.secret) {
			needles[text[:8]] = append(needles[text[:8]], needle{text, i})
		}
	}
	found := map[int]string{}
	for name, sink := range sinks {
		for i := 0; i+8 <= len(sink); i++ {
			for _, n := range needles[string(sink[i:i+8])] {
				if bytes.HasPrefix(sink[i:], []byte(n.text)) {
					found[n.of] = name
				}
			}
		}
	}
	packed := 0
	for i, k := range all {
		if k.coding != "" {
			packed++
		}
		if where, ok := found[i]; ok && mode == "on" {
			t.Errorf("place %d: a secret is in the %s: %+.200v", i%len(canaryPlaces), where, k)
		} else if !ok && mode == "off" && k.coding == "" && !strings.Contains(k.body, `\u00`) && !twiceEncoded(k) {
			t.Errorf("place %d: not found with redaction off: %+.200v", i%len(canaryPlaces), k)
		}
	}
	t.Logf("redaction %s: %d of %d secrets found in %d sinks", mode, len(found), len(all), len(sinks))
}

// twiceEncoded secrets are in no form that is looked for.
func twiceEncoded(k canary) bool {
	plain, _ := url.QueryUnescape(k.query + k.body)
	for _, form := range forms(k.secret) {
		if strings.Contains(k.query+k.path+k.body+plain+fmt.Sprint(k.headers), form) {
			return !strings.Contains(k.query+k.path+k.body+fmt.Sprint(k.headers), form)
		}
	}
	return true
}

// forms of a secret: as it is, in hex, percent-encoded, and in base64 whatever
// stands before it.
func forms(secret string) []string {
	out := []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret)}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret + "xx"))
		out = append(out, text[(shift*8+5)/6:(shift*8+len(secret)*8)/6])
	}
	return out
}
