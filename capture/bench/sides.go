package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"tapedeck/internal/benchtest"
)

// direct is the control: what loader and origin do alone.
func direct(address func(*lab) string) side {
	return side{name: "direct", start: func(_ context.Context, l *lab) (*turn, error) { return &turn{address: address(l)}, nil }}
}

// ownRole is a side that this program plays itself, at a free address.
func ownRole(name, role string, args func(*lab) []string) side {
	return side{name: name, start: func(ctx context.Context, l *lab) (*turn, error) {
		return listening(ctx, name, func(address string) (string, []string) {
			return l.self, append([]string{"role", role, address}, args(l)...)
		})
	}}
}

// listening starts a program that is to listen on a free address.
func listening(ctx context.Context, name string, command func(address string) (program string, args []string)) (*turn, error) {
	address, err := benchtest.FreeAddress()
	if err != nil {
		return nil, err
	}
	program, args := command(address)
	p, err := benchtest.Start(name, program, args...)
	if err != nil {
		return nil, err
	}
	if err := benchtest.Answering(ctx, address); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w: %s", err, p.Output())
	}
	return &turn{process: p, address: address}, nil
}

func clearOrigin(l *lab) string { return l.clear }

var bareRelay = ownRole("bare Go relay", "relay", func(l *lab) []string { return []string{l.clear} })

func reverseProxy(protocol string) side {
	name := map[string]string{"h1": "Go ReverseProxy", "h2": "Go h2 ReverseProxy"}[protocol]
	return ownRole(name, "reverseproxy", func(l *lab) []string { return []string{l.clear, protocol} })
}

const haproxyConfig = `global
  nbthread 2
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind %s
  default_backend out
backend out
  server origin %s
`

var haproxy = side{name: "haproxy", start: func(ctx context.Context, l *lab) (*turn, error) {
	return configured(ctx, l, "haproxy", func(dir, address string) (string, []string) {
		return fmt.Sprintf(haproxyConfig, address, l.clear), []string{"-db", "-f"}
	})
}}

const nginxConfig = `daemon off; worker_processes 2; pid %[1]s/pid; error_log stderr error; user root;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
  upstream origin { server %[3]s; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen %[2]s;
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`

var nginx = side{name: "nginx", start: func(ctx context.Context, l *lab) (*turn, error) {
	return configured(ctx, l, "nginx", func(dir, address string) (string, []string) {
		config := fmt.Sprintf(nginxConfig, dir, address, l.clear)
		if os.Getuid() != 0 {
			config = "#" + config // the first line; the rest needs no root
		}
		return config, []string{"-p", dir, "-c"}
	})
}}

// configured starts a program that reads a file.
func configured(ctx context.Context, l *lab, name string, config func(dir, address string) (text string, args []string)) (*turn, error) {
	program, err := l.program(name)
	if err != nil {
		return nil, err
	}
	dir, err := l.fresh()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config")
	var wrong error
	t, err := listening(ctx, name, func(address string) (string, []string) {
		text, args := config(dir, address)
		wrong = os.WriteFile(file, []byte(text), 0o644)
		return program, append(args, file)
	})
	if wrong != nil {
		return nil, wrong
	}
	return t, err
}

// deck is a capture.
type deck struct {
	name     string
	pressure string
	flags    func(l *lab, address string) []string // default: --inbound to the origin in clear
	change   func(*lab, *load, string)             // how the loader reaches it; the last is its data folder
	vary     func(*load)
}

func (d deck) side() side {
	return side{name: d.name, vary: d.vary, ours: true, start: func(ctx context.Context, l *lab) (*turn, error) { return d.start(ctx, l) }}
}

func (d deck) start(ctx context.Context, l *lab) (*turn, error) {
	data, err := l.fresh()
	if err != nil {
		return nil, err
	}
	debug, err := benchtest.FreeAddress()
	if err != nil {
		return nil, err
	}
	flags := d.flags
	if flags == nil {
		flags = func(l *lab, address string) []string { return []string{"--inbound", address + "=" + l.clear} }
	}
	t, err := listening(ctx, d.name, func(address string) (string, []string) {
		args := []string{"capture", "--service", "bench", "--nats", l.natsURL, "--data", data, "--log", "warn", "--http", debug, "--on-pressure", d.pressure}
		return l.tapedeck, append(args, flags(l, address)...)
	})
	if err != nil {
		return nil, err
	}
	t.debug = debug
	if d.change != nil {
		t.change = func(w *load) { d.change(l, w, data) }
	}
	t.recorded = func(ctx context.Context, sent int64) (counts, error) {
		c, err := l.tapes.take(ctx)
		if err != nil {
			return c, err
		}
		return c, c.check(sent, d.pressure == "block")
	}
	return t, nil
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
