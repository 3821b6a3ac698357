package canary

import (
	"bytes"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
)

// needles are texts to search, each of the secret with a number.
type needles struct {
	short [1 << 16]uint64 // a bit for each hash of three first bytes
	by    map[string][]needle
}

type needle struct {
	text string
	of   int
}

// least is the length that needles share a beginning of.
const least = 8

func (n *needles) add(text string, of int) {
	if len(text) < least {
		panic("a needle that is too short: " + text)
	}
	if n.by == nil {
		n.by = map[string][]needle{}
	}
	h := hash3([]byte(text))
	n.short[h>>6] |= 1 << (h & 63)
	n.by[text[:least]] = append(n.by[text[:least]], needle{text, of})
}

func hash3(b []byte) uint32 {
	return (uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])) * 2654435761 >> 10
}

// search calls found for each needle in b.
func (n *needles) search(b []byte, found func(of int, text string)) {
	for i := 0; i+least <= len(b); i++ {
		h := hash3(b[i:])
		if n.short[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, one := range n.by[string(b[i:i+least])] {
			if len(b)-i >= len(one.text) && string(b[i:i+len(one.text)]) == one.text {
				found(one.of, one.text)
			}
		}
	}
}

// unpacked are the bytes of all zstd frames and gzip members in b: tapes,
// whatever holds them, and whatever of them is left.
func unpacked(b []byte) []byte {
	var out []byte
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer decoder.Close()
	for _, magic := range []string{"\x28\xb5\x2f\xfd", "\x1f\x8b\x08"} {
		for rest := b; ; {
			at := bytes.Index(rest, []byte(magic))
			if at < 0 {
				break
			}
			rest = rest[at:]
			out = append(out, inflate(decoder, rest)...)
			rest = rest[len(magic):]
		}
	}
	return out
}

// inflate reads as far as it goes: behind a frame stands something else.
func inflate(decoder *zstd.Decoder, b []byte) []byte {
	var r io.Reader = decoder
	if b[0] == 0x1f {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil
		}
		z.Multistream(false)
		r = z
	} else if err := decoder.Reset(bytes.NewReader(b)); err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(r, 64<<20))
	return out
}
