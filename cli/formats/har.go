package formats

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"tapedeck/events"
)

// HTTP Archive 1.2 (http://www.softwareishard.com/blog/har-12-spec/). Names
// that begin with an underscore are the format's room for others: those of
// Chromium and Proxyman that matter here are read, and ours is _tapedeck, the
// exchange without what stands in the format's own fields.

type harEntry struct {
	Started    string          `json:"startedDateTime"`
	Time       number          `json:"time"`
	Request    harRequest      `json:"request"`
	Response   harResponse     `json:"response"`
	Cache      struct{}        `json:"cache"`
	Timings    harTimings      `json:"timings"`
	ServerIP   string          `json:"serverIPAddress,omitempty"`
	Connection harText         `json:"connection,omitempty"`
	FromCache  harText         `json:"_fromCache,omitempty"`     // Chromium
	ServerAddr string          `json:"_serverAddress,omitempty"` // Proxyman
	ServerPort number          `json:"_serverPort,omitempty"`
	ClientAddr string          `json:"_clientAddress,omitempty"`
	ClientPort number          `json:"_clientPort,omitempty"`
	Messages   any             `json:"_messages,omitempty"` // of a call of gRPC, ours
	Own        json.RawMessage `json:"_tapedeck,omitempty"`
}

type harRequest struct {
	Method      string     `json:"method"`
	URL         string     `json:"url"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	QueryString []harPair  `json:"queryString"`
	PostData    *harPosted `json:"postData,omitempty"`
	HeadersSize number     `json:"headersSize"`
	BodySize    number     `json:"bodySize"`
}

type harResponse struct {
	Status      number     `json:"status"`
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize number     `json:"headersSize"`
	BodySize    number     `json:"bodySize"`
	Error       harText    `json:"_error,omitempty"` // Chromium
}

// harPair is a header, a cookie, a query or a form parameter.
type harPair struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Base64 []byte `json:"_base64,omitempty"` // of a value that is no UTF-8
}

type harPosted struct {
	MimeType string    `json:"mimeType"`
	Params   []harPair `json:"params,omitempty"`
	Text     string    `json:"text"`
	Encoding string    `json:"encoding,omitempty"`
	Raw      []byte    `json:"_raw,omitempty"` // as it was sent, where text is decoded
}

type harContent struct {
	Size     number `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
	Raw      []byte `json:"_raw,omitempty"`
}

// harTimings are milliseconds; -1 where a phase did not take place.
type harTimings struct {
	Blocked number `json:"blocked"`
	DNS     number `json:"dns"`
	Connect number `json:"connect"`
	Send    number `json:"send"`
	Wait    number `json:"wait"`
	Receive number `json:"receive"`
	SSL     number `json:"ssl"`
}

// number reads what some write as a text or as null.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" || s == "" {
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return &json.UnmarshalTypeError{Value: "value " + clip(s, 20)}
	}
	*n = number(f)
	return nil
}

// harText reads what some write as a number, a truth or null.
type harText string

func (t *harText) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = harText(s)
	} else if s := string(b); s != "null" && s != "false" {
		*t = harText(clip(s, 100))
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// fields are the headers. The pseudo headers of HTTP/2, which some write down
// with them, come apart.
func fields(pairs []harPair) (headers []*events.Field, pseudo map[string]string) {
	for _, p := range pairs {
		if strings.HasPrefix(p.Name, ":") {
			if pseudo == nil {
				pseudo = map[string]string{}
			}
			pseudo[p.Name] = p.Value
			continue
		}
		value := []byte(p.Value)
		if p.Base64 != nil {
			value = p.Base64
		}
		headers = append(headers, &events.Field{Name: []byte(p.Name), Value: value})
	}
	return headers, pseudo
}

func pairs(headers []*events.Field) []harPair {
	out := make([]harPair, 0, len(headers))
	for _, f := range headers {
		p := harPair{Name: string(f.Name), Value: string(f.Value)}
		if !utf8.Valid(f.Value) {
			p.Value, p.Base64 = strings.ToValidUTF8(p.Value, "\ufffd"), f.Value
		}
		out = append(out, p)
	}
	return out
}

// unbase64 reads base64 with or without padding and line breaks.
func unbase64(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\r', ' ', '=':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, s)
	return base64.RawStdEncoding.DecodeString(s)
}

// without returns the headers that are not of that name.
func without(headers []*events.Field, name string) []*events.Field {
	var out []*events.Field
	for _, f := range headers {
		if !strings.EqualFold(string(f.Name), name) {
			out = append(out, f)
		}
	}
	return out
}

// setHeader changes the first header of that name where there is one.
func setHeader(headers []*events.Field, name, value string) {
	for _, f := range headers {
		if strings.EqualFold(string(f.Name), name) {
			f.Value = []byte(value)
			return
		}
	}
}
