package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

// link is the network between our processes and a server.
type link struct {
	*toxiproxy.Proxy
	to string
	on *slot // one fault at a time
}

func newLink(to, address string) (*link, error) {
	listen, err := benchtest.FreeAddress()
	if err != nil {
		return nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, to, listen, address)
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("link to %s: %w", to, err)
	}
	return &link{p, to, &slot{name: "link to " + to}}, nil
}

// troubles are what may be wrong with a network, by what each is called, in the
// terms of toxiproxy: streams and attributes.
var troubles = []struct {
	name, kind, attributes string
	streams                []string
}{
	{"cut", "timeout", `{"timeout":0}`, []string{"upstream", "downstream"}},
	{"cut there", "timeout", `{"timeout":0}`, []string{"upstream"}},
	{"cut back", "timeout", `{"timeout":0}`, []string{"downstream"}},
	{"slow", "latency", `{"latency":2000,"jitter":200}`, []string{"upstream", "downstream"}},
	{"narrow", "bandwidth", `{"rate":10}`, []string{"upstream", "downstream"}}, // KB/s
	{"reset", "reset_peer", `{"timeout":0}`, []string{"upstream", "downstream"}},
	{"limited", "limit_data", `{"bytes":100000}`, []string{"upstream"}}, // then closed, in the midst of anything
}

func (l *link) faults() (all []fault) {
	for _, t := range troubles {
		all = append(all, fault{t.name + " " + l.on.name, []*slot{l.on}, func(ctx context.Context, hold time.Duration) error {
			for _, stream := range t.streams {
				toxic := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":1,"attributes":%s}`, stream, t.kind, stream, t.attributes)
				if _, err := l.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
					return errors.Join(err, l.heal(t.streams))
				}
			}
			service.Sleep(ctx, 2*hold)
			return l.heal(t.streams)
		}})
	}
	return all
}

func (l *link) heal(streams []string) error {
	var errs []error
	for _, stream := range streams {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		errs = append(errs, l.Toxics.RemoveToxic(ctx, stream))
		cancel()
	}
	return errors.Join(errs...)
}

// linkTo is a URL by way of a new link to its host.
func (s *stack) linkTo(name, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	l, err := newLink(name, u.Host)
	if err != nil {
		return "", err
	}
	s.links = append(s.links, l)
	u.Host = l.Listen
	return u.String(), nil
}
