package redact

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// Host is a host, with a port or without, as it may be recorded: names are made
// of keys, and some clients put userinfo before them.
func (e *Engine) Host(host string) string {
	if e == nil {
		return host
	}
	bare := host[strings.LastIndexByte(host, '@')+1:]
	if e.shut {
		return bare
	}
	done := e.guard(func() { // it is the relay that waits here
		v := e.plain
		if v == nil { // rules hold for exchanges, and there is none yet
			v = e.view(&events.Exchange{})
		}
		scope{view: v}.host(&host)
	})
	if !done {
		return bare
	}
	return host
}

func (s scope) host(host *string) {
	if at := strings.LastIndexByte(*host, '@'); at > 0 {
		info, _ := s.value(s.classes[Credential], []byte((*host)[:at]))
		*host = string(info) + (*host)[at:]
		return
	}
	if s.full && mayHold(*host) {
		if out, same, _ := s.find([]byte(*host)); !same {
			*host = string(out)
		}
	}
}

// phrase is a text of a protocol's own.
func (s scope) phrase(text *string) {
	if len(*text) < shortest || !s.full {
		return
	}
	if out, same := s.text([]byte(*text)); !same {
		*text = string(out)
	}
}

// connection redacts what is known of a connection, and why it failed. Others
// share its TLS.
func (s scope) connection(x *events.Exchange) {
	s.within("failure", inText).phrase(&x.Failure)
	c := x.Connection
	if c == nil {
		return
	}
	s.within("server", inHeader).host(&c.Server)
	if name := c.Tls.GetServerName(); name != "" {
		if s.within("server_name", inHeader).host(&name); name != c.Tls.ServerName {
			c.Tls = proto.CloneOf(c.Tls)
			c.Tls.ServerName = name
		}
	}
}
