// Package formats reads and writes recorded traffic in the formats of others.
//
//   - har.go, harread.go, harbody.go, hartimes.go, harwrite.go: HTTP Archive
//     1.2, of browsers, Charles, Proxyman, and our own, which carries what the
//     format has no field for
//   - gor.go: GoReplay's files
//   - pcap.go, tcpstream.go, dissect.go: pcap and pcapng, TCP put together and
//     shown to the dissectors of package wire
//   - curl.go, k6.go: a shell script, a k6 script
//
// Readers are iterators: they hold one exchange and what is open at a time,
// within fixed bounds, and end with the first error, which says where in the
// file it is. What came before it was yielded. Exchanges have whole bodies
// (Body.Data, no parts), their own times and no meaningful id.
package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// The formats.
const (
	HAR  = "har"
	Gor  = "gor"
	Pcap = "pcap" // pcapng as well
	Curl = "curl"
	K6   = "k6"
)

// Readable and Writable are the formats there is a reader or a writer for.
var (
	Readable = []string{HAR, Gor, Pcap}
	Writable = []string{HAR, Curl, K6}
)

// Options say how to read.
type Options struct {
	Direction events.Direction // of exchanges that don't say it themselves; default inbound
	Ports     []uint16         // of the service: connections to others are outbound (pcap); none: all have Direction
	MaxBody   int64            // kept of each body; 0: default 1 MiB; negative: all, up to 1 GiB
	Protocols []wire.Protocol  // to dissect with
	// LeftOut is told of what holds no exchange, Lost of exchanges that can't
	// be read whole; each with a reason of a few words. nil: nobody asks.
	LeftOut, Lost func(reason string)
}

const (
	defaultBody = 1 << 20
	wholeBody   = 1 << 30
)

func (o Options) withDefaults() Options {
	nobody := func(string) {}
	if o.Direction == 0 {
		o.Direction = events.Direction_INBOUND
	}
	switch {
	case o.MaxBody == 0:
		o.MaxBody = defaultBody
	case o.MaxBody < 0:
		o.MaxBody = wholeBody
	}
	if o.LeftOut == nil {
		o.LeftOut = nobody
	}
	if o.Lost == nil {
		o.Lost = nobody
	}
	return o
}

// Read reads a file of a format; "" looks at its name and its first bytes.
// Files packed with gzip are unpacked.
func Read(format, name string, r io.Reader, o Options) iter.Seq2[*events.Exchange, error] {
	return func(yield func(*events.Exchange, error) bool) {
		plain, err := unpack(r)
		if err == nil && format == "" {
			format, err = detect(name, plain)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		switch format {
		case HAR:
			ReadHAR(plain, o)(yield)
		case Gor:
			ReadGor(plain, o)(yield)
		case Pcap:
			ReadPcap(plain, o)(yield)
		default:
			yield(nil, fmt.Errorf("format %q can't be read, only %s", format, strings.Join(Readable, ", ")))
		}
	}
}

func unpack(r io.Reader) (*bufio.Reader, error) {
	packed := bufio.NewReaderSize(r, 64<<10)
	if magic, err := packed.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return packed, nil
	}
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return bufio.NewReaderSize(plain, 64<<10), nil
}

// ErrUnknown says that a file is in none of the formats.
var ErrUnknown = errors.New("the format is not known")

var endings = map[string]string{".har": HAR, ".gor": Gor, ".pcap": Pcap, ".pcapng": Pcap, ".cap": Pcap, ".sh": Curl, ".js": K6, ".mjs": K6}

// ByEnding is the format of files named so, "" when the name says nothing.
func ByEnding(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return endings[name[max(strings.LastIndexByte(name, '.'), 0):]]
}

var pcapMagics = []string{"\xa1\xb2\xc3\xd4", "\xd4\xc3\xb2\xa1", "\xa1\xb2\x3c\x4d", "\x4d\x3c\xb2\xa1", "\x0a\x0d\x0d\x0a"}

// detect prefers what the bytes say.
func detect(name string, r *bufio.Reader) (string, error) {
	head, err := r.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	text := bytes.TrimLeft(head, "\ufeff \t\r\n")
	switch {
	case len(head) >= 4 && slices.Contains(pcapMagics, string(head[:4])):
		return Pcap, nil
	case len(text) > 0 && text[0] == '{':
		return HAR, nil
	case len(text) > 1 && text[0] >= '1' && text[0] <= '3' && text[1] == ' ':
		return Gor, nil
	}
	if f := ByEnding(name); slices.Contains(Readable, f) {
		return f, nil
	}
	return "", ErrUnknown
}

// Writer writes exchanges to a file of a format.
type Writer interface {
	// Write writes one exchange with whole bodies, or says in a few words why
	// the format can't hold it.
	Write(x *events.Exchange) (leftOut string, err error)
	// Close ends the file; it closes nothing that it was given.
	Close() error
}

// CallWriter is a Writer with room for the messages of gRPC's calls, as JSON.
type CallWriter interface {
	WriteCall(x *events.Exchange, messages any) error
}

// NewWriter begins a file. version is our own, for the file to name.
func NewWriter(format string, w io.Writer, version string) (Writer, error) {
	switch format {
	case HAR:
		return newHARWriter(w, version)
	case Curl:
		return newCurlWriter(w, version)
	case K6:
		return newK6Writer(w, version)
	}
	return nil, fmt.Errorf("format %q can't be written, only %s", format, strings.Join(Writable, ", "))
}

// counted knows how many bytes were read from r.
type counted struct {
	r      io.Reader
	offset int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.offset += int64(n)
	return n, err
}
