package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tapedeck/events"
)

const (
	// memoryAge is how long a refusal is remembered: programs are updated.
	memoryAge = 30 * 24 * time.Hour
	// momentAge is how long a server's bad certificate is: each connection to
	// it would otherwise cost two.
	momentAge = time.Minute
	// maxRemembered bounds memory and file; the oldest is forgotten.
	maxRemembered = 1000
	// soon is how long a client takes to turn away from a certificate.
	soon = time.Second
	// maxSilent is how many silent ends in a row are a refusal.
	maxSilent = 3
)

// passthrough is what is not opened: by --passthrough, and by what was learned
// in handshakes. What was learned outlives the process in a file.
type passthrough struct {
	patterns []pattern
	soon     time.Duration
	file     string
	ca       string // fingerprint: another CA may please where this one did not

	mu      sync.Mutex
	learned map[visitor]refusal
	fresh   chan refusal    // to be shared; what finds no room is at the next connection
	ends    map[visitor]int // silent ends in a row; works: used once
}

// used stands for a client that has used a connection to a host.
const used = -1

// refusal is a line of the file, and a key that captures share.
type refusal = events.Passthrough

type memoryFile struct {
	Version int       `json:"version"`
	Learned []refusal `json:"learned"`
}

// pattern is HOST, *.DOMAIN or either with :PORT.
type pattern struct{ host, port string }

func parsePattern(s string) (pattern, error) {
	p := pattern{host: lowerName(s)}
	if host, port, err := net.SplitHostPort(s); err == nil {
		p = pattern{lowerName(host), port}
	}
	rest := strings.TrimPrefix(p.host, "*")
	if p.host != "*" && (strings.Contains(rest, "*") || strings.Trim(rest, ".") == "" || rest != p.host && rest[0] != '.') {
		return pattern{}, fmt.Errorf("--passthrough %q is not HOST, *.DOMAIN or one of them with :PORT", s)
	}
	return p, nil
}

func (p pattern) match(host, port string) bool {
	if p.port != "" && p.port != port {
		return false
	}
	suffix, wild := strings.CutPrefix(p.host, "*")
	return host == p.host || wild && strings.HasSuffix(host, suffix)
}

func openPassthrough(patterns []string, file, ca string) (*passthrough, error) {
	p := &passthrough{soon: soon, file: file, ca: ca, fresh: make(chan refusal, 64), ends: map[visitor]int{}}
	for _, s := range patterns {
		parsed, err := parsePattern(s)
		if err != nil {
			return nil, err
		}
		p.patterns = append(p.patterns, parsed)
	}
	var err error
	p.learned, err = readMemory(file)
	return p, err
}

func readMemory(file string) (map[visitor]refusal, error) {
	learned := map[visitor]refusal{}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return learned, nil
	}
	var m memoryFile
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("read what is not opened from %s: %w", file, err)
	}
	for _, r := range m.Learned {
		learned[visitor{r.Host, r.Client}] = r
	}
	return learned, nil
}

// reason says why a visitor's TLS is not opened; "" when it is. authority is
// what it asked the proxy for.
func (p *passthrough) reason(who visitor, authority string, now time.Time) string {
	host, port, _ := net.SplitHostPort(who.host)
	asked := lowerName(hostOf(authority))
	for _, listed := range p.patterns {
		if listed.match(host, port) || listed.match(asked, port) {
			return passListed
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range []visitor{{host: who.host}, who} {
		if r, ok := p.learned[key]; ok && now.Before(r.Until) && (r.CA == "" || r.CA == p.ca) {
			return r.Reason
		}
	}
	return ""
}

// forNow passes a host through for a moment, and says whether that is new.
func (p *passthrough) forNow(host, reason string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := visitor{host: host}
	_, known := p.learned[key]
	p.learned[key] = refusal{Host: host, Reason: reason, Since: now.UTC(), Until: now.Add(momentAge).UTC()}
	p.bound()
	return !known
}

// remember passes a visitor through from now on.
func (p *passthrough) remember(who visitor, reason string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := refusal{Host: who.host, Client: who.client, Reason: reason, Since: now.UTC().Truncate(time.Second), Until: now.Add(memoryAge).UTC().Truncate(time.Second)}
	if reason == passPinned {
		r.CA = p.ca
	}
	p.learned[who] = r
	select {
	case p.fresh <- r:
	default:
	}
	p.bound()
	return p.save(now)
}

// learn takes what another capture has learned, for no longer than we would
// remember it ourselves.
func (p *passthrough) learn(r refusal, now time.Time) error {
	if r.CA != "" && r.CA != p.ca {
		return nil // the client has not seen ours
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if longest := now.Add(memoryAge).UTC(); r.Until.After(longest) {
		r.Until = longest
	}
	key := visitor{r.Host, r.Client}
	if known, ok := p.learned[key]; ok && !known.Since.Before(r.Since) {
		return nil // our own, come back
	}
	p.learned[key] = r
	p.bound()
	return p.save(now)
}

// forget opens again what was deleted from what captures share, unless it was
// learned since.
func (p *passthrough) forget(key string, deleted time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for who, r := range p.learned {
		if r.Key() == key && r.Since.Before(deleted) {
			delete(p.learned, who)
			return p.write(deleted)
		}
	}
	return nil
}

// shared is what others may know as well.
func (p *passthrough) shared(now time.Time) []refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lasting(now)
}

// lasting is what is remembered for longer than a moment.
func (p *passthrough) lasting(now time.Time) []refusal {
	var all []refusal
	for _, r := range p.learned {
		if now.Before(r.Until) && r.Until.Sub(r.Since) > momentAge {
			all = append(all, r)
		}
	}
	return all
}

// bound forgets the oldest.
func (p *passthrough) bound() {
	for len(p.learned) > maxRemembered {
		var oldest visitor
		for key, r := range p.learned {
			if o, ok := p.learned[oldest]; !ok || r.Since.Before(o.Since) {
				oldest = key
			}
		}
		delete(p.learned, oldest)
	}
}

// save writes the file, with what other processes of this folder have learned.
func (p *passthrough) save(now time.Time) error {
	others, err := readMemory(p.file)
	if err != nil {
		return err
	}
	for key, r := range others {
		if _, ok := p.learned[key]; !ok && now.Before(r.Until) {
			p.learned[key] = r
		}
	}
	p.bound()
	return p.write(now)
}

// write replaces the file.
func (p *passthrough) write(now time.Time) error {
	m := memoryFile{Version: 1, Learned: p.lasting(now)}
	slices.SortFunc(m.Learned, func(a, b refusal) int { return strings.Compare(a.Host+" "+a.Client, b.Host+" "+b.Client) })
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(p.file, append(text, '\n'))
}

// writeWhole puts a file into place: a crash leaves the old or the new one.
func writeWhole(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".passthrough-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// works says that a visitor has used an opened connection.
func (p *passthrough) works(who visitor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(who, used)
}

// silent counts a visitor that has left without a word, and says whether that
// is a refusal.
func (p *passthrough) silent(who visitor) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.ends[who]
	if n == used {
		return false
	}
	p.count(who, n+1)
	return n+1 >= maxSilent
}

func (p *passthrough) count(who visitor, n int) {
	if len(p.ends) >= 10*maxRemembered {
		clear(p.ends)
	}
	p.ends[who] = n
}
