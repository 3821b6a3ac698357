package capture

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapedeck/capture/ca"
	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire"
)

// terms are how a capture speaks TLS, on both sides.
type terms struct {
	upstream    *tls.Config  // as a client: always verifying
	certificate *certificate // of the service; nil: inbound is relayed as it comes
	authority   *ca.CA       // nil: outbound is relayed as it comes
	passthrough *passthrough // what is not opened although there is an authority
	h2          bool         // HTTP/2 can be dissected
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// openTerms reads roots, certificate and authority, as far as they are needed.
func (s *Service) openTerms(deps Deps, routes []route) (err error) {
	cfg, t := s.cfg, &s.terms
	t.h2 = slices.ContainsFunc(s.protocols, func(p wire.Protocol) bool { return p.Detect([]byte(preface)) == wire.Yes })
	open := cfg.OutboundTLS == "open" && slices.ContainsFunc(routes, func(r route) bool { return r.direction != events.Direction_INBOUND })
	if open || slices.ContainsFunc(routes, func(r route) bool { return r.secure }) {
		if t.upstream, err = upstreamTLS(cfg.UpstreamCA); err != nil {
			return service.Hint(err, "--upstream-ca names a PEM file with certificates to trust beside the system's")
		}
	}
	if cfg.InboundCert != "" || cfg.InboundKey != "" {
		if t.certificate, err = openCertificate(cfg.InboundCert, cfg.InboundKey, s.log); err != nil {
			return service.Hint(err, "--inbound-cert and --inbound-key name the service's certificate chain and its key, in PEM")
		}
	}
	if !open {
		return nil
	}
	setDefault(&cfg.CA, ca.File(deps.Data))
	if t.authority, err = ca.Open(cfg.CA, time.Now()); err != nil {
		return service.Hint(err, "tapedeck admin ca makes it; name another with --ca FILE, or leave TLS closed with --outbound-tls pass")
	}
	if err := t.authority.WriteCertificate(ca.CertificateFile(deps.Data)); err != nil {
		return service.Hint(err, "choose a folder that can be written with --data DIR")
	}
	t.passthrough, err = openPassthrough(cfg.Passthrough, filepath.Join(deps.Data, "passthrough.json"), t.authority.Fingerprint())
	return err
}

// upstreamTLS trusts the system's roots and those of a file.
func upstreamTLS(file string) (*tls.Config, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's root certificates: %w", err)
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read --upstream-ca: %w", err)
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read --upstream-ca %s: no certificate in it", file)
		}
	}
	return &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(256)}, nil
}

// offer is what of the client's protocols is offered to the upstream.
func (t *terms) offer(asked []string) []string {
	return slices.DeleteFunc(slices.Clone(asked), func(p string) bool { return p == "h2" && !t.h2 })
}

// chosen is what a client is told of the upstream's choice.
func chosen(protocol string) []string {
	if protocol == "" {
		return nil
	}
	return []string{protocol}
}

// secure speaks TLS to an upstream. names are what its certificate may be
// for, the first is sent as the server's name.
func (s *session) secure(ctx context.Context, upstream *net.TCPConn, names []string, with func(*tls.Config)) (*secured, error) {
	config := s.terms.upstream.Clone()
	config.ServerName = names[0]
	if len(names) > 1 {
		config.InsecureSkipVerify = true // not skipped: verified for each name
		config.VerifyConnection = verifyOneOf(config.RootCAs, names)
	}
	if with != nil {
		with(config)
	}
	l := &link{TCPConn: upstream}
	c := tls.Client(l, config)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return &secured{c, l}, nil
}

// verifyOneOf accepts a trusted certificate for one of names.
func verifyOneOf(roots *x509.CertPool, names []string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		var failed error
		for _, name := range names {
			options.DNSName = name
			_, err := state.PeerCertificates[0].Verify(options)
			if err == nil {
				return nil
			}
			failed = errors.Join(failed, err)
		}
		return fmt.Errorf("tls: failed to verify certificate: %w", failed)
	}
}

// hostOf is a host:port without its port.
func hostOf(authority string) string {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		return authority
	}
	return host
}

func portOf(authority string) string {
	_, port, _ := net.SplitHostPort(authority)
	return port
}

// lowerName is a host name in the one form that names are compared in.
func lowerName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
