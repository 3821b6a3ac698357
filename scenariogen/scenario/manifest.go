package scenario

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tapedeck/events"
)

// Format is the format version this package writes and the highest it reads.
const Format = 1

// ErrFormat is wrapped by every error about bytes that are no readable scenario.
var ErrFormat = errors.New("not a readable scenario")

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Manifest says what a scenario holds and where. Field names are for ever;
// readers ignore what they do not know.
type Manifest struct {
	Format    int       `json:"format"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Request   string    `json:"request"` // id of the request it answers
	By        string    `json:"by,omitempty"`
	CreatedAt time.Time `json:"created_at"`

	Service       events.Service `json:"service"` // under test
	Selector      string         `json:"selector,omitempty"`
	From          time.Time      `json:"from,omitzero"` // first byte of the first exchange
	To            time.Time      `json:"to,omitzero"`   // first byte of the last exchange
	RedactionKeys []string       `json:"redaction_keys,omitempty"`

	Rules        Rules               `json:"rules"`
	Sessions     int                 `json:"sessions"`
	Tests        int                 `json:"tests"`
	Mocks        int                 `json:"mocks"`
	Dependencies []events.Dependency `json:"dependencies"`
	Credentials  []Credential        `json:"credentials,omitempty"` // redacted, to be given to a replay
	Cuts         []Cut               `json:"cuts,omitempty"`        // sessions that were cut
	Skipped      map[string]int      `json:"skipped,omitempty"`     // exchanges left out, by reason
	Warnings     []string            `json:"warnings,omitempty"`    // what a person should know, one sentence each

	TestPieces []Piece `json:"test_pieces,omitempty"` // in order of start
	MockPieces []Piece `json:"mock_pieces,omitempty"` // by dependency, then route
}

// Piece is one object of a scenario.
type Piece struct {
	Key        string `json:"key"` // below the version's folder
	Dependency string `json:"dependency,omitempty"`
	Bytes      int64  `json:"bytes"`
	SHA256     string `json:"sha256"` // of the object, hex
	Records    int    `json:"records"`
	First      string `json:"first,omitempty"` // mocks: the lowest route signature in it, hex
	Last       string `json:"last,omitempty"`  // mocks: the highest
}

// Cut says that a session goes on as another one.
type Cut struct {
	Session string `json:"session"` // the later half
	Reason  string `json:"reason"`
}

// Ready is the announcement of the scenario.
func (m *Manifest) Ready() events.ScenarioReady {
	return events.ScenarioReady{
		ID: m.Request, Name: m.Name, Version: m.Version, Location: Folder(m.Name, m.Version),
		Tests: m.Tests, Sessions: m.Sessions, Mocks: m.Mocks, Cuts: len(m.Cuts), Dependencies: m.Dependencies,
		From: m.From, To: m.To, CreatedAt: m.CreatedAt, Credentials: m.needed(),
	}
}

// needed is the number of credentials that a replay can't do without.
func (m *Manifest) needed() int { return len(m.Missing(nil, nil)) }

// Version is the version that the request with this id makes, each time it is
// delivered.
func Version(request string) string {
	sum := sha256.Sum256([]byte(request))
	return hex.EncodeToString(sum[:6])
}

// Folder is where a version lies in the archive, with a slash at its end.
func Folder(name, version string) string {
	return root + events.Token(name) + "/" + events.Token(version) + "/"
}

const (
	root         = "scenarios/"
	latestFolder = "latest" // a version is hex: no version is called that
	manifestKey  = "manifest"
)

func latestKey(m *Manifest) string {
	return fmt.Sprintf("%s%s/%s/%020d-%s", root, events.Token(m.Name), latestFolder, m.CreatedAt.UnixNano(), events.Token(m.Version))
}

// SessionHash is what shares are cut by: the same everywhere, evenly spread.
func SessionHash(id string) uint32 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint32(sum[:4])
}

// Share is a part of the sessions by their hash. The zero value is all of them.
type Share struct {
	From uint32
	To   uint32 // exclusive; 0: to the end
}

// Has says whether a session of that hash belongs to the share.
func (s Share) Has(hash uint32) bool { return hash >= s.From && (s.To == 0 || hash < s.To) }

// All says that the share is everything.
func (s Share) All() bool { return s == Share{} }

func parseManifest(b []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, formatError("manifest: %v", err)
	}
	if m.Format < 1 || m.Format > Format {
		return nil, formatError("manifest of format version %d, this tapedeck reads up to %d: upgrade tapedeck", m.Format, Format)
	}
	if m.Name == "" || m.Version == "" {
		return nil, formatError("manifest without name or version")
	}
	return m, nil
}

func (m *Manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest of %s: %w", m.Name, err)
	}
	return append(b, '\n'), nil
}
