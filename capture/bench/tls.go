package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"tapedeck/capture/ca"
)

// tlsBoth: the same as throughput, with TLS to the client and to the origin.
func tlsBoth(ctx context.Context, l *lab, out io.Writer) error {
	connect := func(l *lab, w *load) { w.Connect, w.Host = true, l.secure }
	opened := func(name, pressure string) side {
		return deck{name: name, pressure: pressure,
			flags: func(l *lab, address string) []string {
				return []string{"--outbound", address, "--outbound-tls", "open", "--upstream-ca", l.certificate}
			},
			change: func(l *lab, w *load, data string) {
				connect(l, w)
				w.Roots = ca.CertificateFile(data)
			}}.side()
	}
	inbound := deck{name: "tapedeck block, --inbound-cert", pressure: "block",
		flags: func(l *lab, address string) []string {
			return []string{"--inbound", address + "=https://" + l.secure, "--inbound-cert", l.certificate, "--inbound-key", l.key, "--upstream-ca", l.certificate}
		},
		change: func(l *lab, w *load, _ string) { w.Roots = l.certificate }}.side()
	sides := []side{
		direct(func(l *lab) string { return l.secure }),
		ownRole("Go TLS relay", "tlsrelay", func(l *lab) []string { return []string{l.secure, l.certificate, l.key} }),
		opened("tapedeck drop, TLS opened", "drop"), opened("tapedeck block, TLS opened", "block"), inbound,
		goproxy(connect), mitmproxyTLS(connect), hoverfly("hoverfly capture", 1, connect),
	}
	all, err := compare(ctx, l, out, sides, load{Connections: 64, Duration: l.duration, Prefix: small, Paths: 1, Body: smallBody, TLS: true})
	if err != nil {
		return err
	}
	relay, peer := all.of("Go TLS relay").rate, all.of("goproxy with capture").rate
	var bars []bar
	for _, name := range []string{"drop", "block"} {
		ours := all.of("tapedeck " + name + ", TLS opened").rate
		bars = append(bars, atLeast(name+" / Go TLS relay", ours/relay, 0.9), atLeast(name+" / goproxy with capture", ours/peer, 2))
	}
	printBars(out, bars...)
	return nil
}

// goproxy is elazarl/goproxy with a recorder of a few lines (./goproxy).
func goproxy(change func(*lab, *load)) side {
	return side{name: "goproxy with capture", start: func(ctx context.Context, l *lab) (*turn, error) {
		program, err := l.program("goproxy")
		if err != nil {
			return nil, err
		}
		dir, err := l.fresh()
		if err != nil {
			return nil, err
		}
		t, err := listening(ctx, "goproxy", func(address string) (string, []string) {
			return program, []string{"-listen", address, "-record", filepath.Join(dir, "exchanges"), "-roots", l.certificate}
		})
		if err != nil {
			return nil, err
		}
		t.change = func(w *load) { change(l, w) }
		t.recorded = func(context.Context, int64) (counts, error) {
			var c counts
			_, said, _ := strings.Cut(t.process.Output(), "recorded ")
			_, err := fmt.Sscanf(said, "%d dropped %d", &c.Rows, &c.Dropped)
			return c, err
		}
		return t, nil
	}}
}

func mitmproxyTLS(change func(*lab, *load)) side {
	return side{name: "mitmdump -w", start: func(ctx context.Context, l *lab) (*turn, error) {
		t, err := startMitmdump(ctx, l, "--set", "ssl_verify_upstream_trusted_ca="+l.certificate)
		if err == nil {
			t.change = func(w *load) { change(l, w) }
		}
		return t, err
	}}
}
