package ca

import (
	"container/list"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// leafValidity is from skew before the leaf is made: it ends within a day.
	leafValidity = 24 * time.Hour
	// leafRenewal is how long before its end a leaf is not given out any more.
	leafRenewal = 8 * time.Hour
	// maxLeaves bounds the memory for leaves to a few MiB.
	maxLeaves = 1024
)

// leaves are the certificates that were made last: the front was used last.
type leaves struct {
	mu     sync.Mutex
	bound  int
	key    *ecdsa.PrivateKey // of all leaves, made with the first
	byName map[string]*list.Element
	used   *list.List // of *tls.Certificate
}

func newLeaves() leaves {
	return leaves{bound: maxLeaves, byName: map[string]*list.Element{}, used: list.New()}
}

// Leaf is a certificate for a host name or an IP address, valid for less than
// a day. It is made at first use and kept among the last thousand.
func (c *CA) Leaf(name string, now time.Time) (*tls.Certificate, error) {
	if ip := net.ParseIP(name); ip != nil {
		name = ip.String()
	}
	l := &c.leaves
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byName[name]; e != nil {
		leaf := e.Value.(*tls.Certificate)
		if now.Before(leaf.Leaf.NotAfter.Add(-leafRenewal)) && now.After(leaf.Leaf.NotBefore) {
			l.used.MoveToFront(e)
			return leaf, nil
		}
		l.forget(e, name)
	}
	leaf, err := c.signLeaf(name, now)
	if err != nil {
		return nil, fmt.Errorf("sign certificate for %q: %w", name, err)
	}
	l.byName[name] = l.used.PushFront(leaf)
	if oldest := l.used.Back(); l.used.Len() > l.bound {
		l.forget(oldest, nameOf(oldest.Value.(*tls.Certificate).Leaf))
	}
	return leaf, nil
}

func (l *leaves) forget(e *list.Element, name string) {
	l.used.Remove(e)
	delete(l.byName, name)
}

// nameOf is the name that a leaf was made for.
func nameOf(leaf *x509.Certificate) string {
	if len(leaf.IPAddresses) > 0 {
		return leaf.IPAddresses[0].String()
	}
	return leaf.DNSNames[0]
}

// signLeaf is called with the lock held: two connections to a new host make
// one leaf.
func (c *CA) signLeaf(name string, now time.Time) (*tls.Certificate, error) {
	var err error
	if c.leaves.key == nil {
		if c.leaves.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: clip(name, 64), Organization: []string{"opened by tapedeck"}},
		NotBefore: now.Add(-skew), NotAfter: earlier(now.Add(leafValidity-skew), c.Certificate.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.Certificate, &c.leaves.key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.leaves.key, Leaf: leaf}, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
