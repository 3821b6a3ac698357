package events

import (
	"strings"
	"unicode/utf8"
)

// Protobuf refuses texts that are no UTF-8, and one such text from the wire
// would make a whole tape unwritable. The builder replaces what is invalid;
// headers and bodies are bytes and stay as they were sent.

func validTexts(texts ...*string) {
	for _, s := range texts {
		if !utf8.ValidString(*s) {
			*s = strings.ToValidUTF8(*s, "\uFFFD")
		}
	}
}

func validEntry(e *Entry) {
	validTexts(&e.Peer, &e.Path, &e.Status, &e.ReplayId)
	e.Tags = e.Tags[:min(len(e.Tags), maxTags)]
	for _, t := range e.Tags {
		validTexts(&t.Key, &t.Value)
	}
}

func validEndpoint(p *Endpoint) {
	validTexts(&p.Protocol, &p.Host, &p.Method, &p.Template)
}

func validExchange(x *Exchange) {
	validTexts(&x.Protocol, &x.Failure)
	if c := x.Connection; c != nil {
		validTexts(&c.Client, &c.Server)
		if t := c.Tls; t != nil {
			validTexts(&t.Version, &t.Cipher, &t.ServerName, &t.Alpn)
		}
	}
	if r := x.Request; r != nil {
		validTexts(&r.Method, &r.Scheme, &r.Host, &r.Target, &r.Version)
	}
	for _, r := range append(x.Interim[:len(x.Interim):len(x.Interim)], x.Response) {
		if r != nil {
			validTexts(&r.Status, &r.Reason, &r.Version)
		}
	}
	for _, r := range x.Redactions {
		validTexts(&r.Place, &r.Class, &r.Action)
	}
}
