package scenario

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"tapedeck/events"
)

// maxDecoded bounds what a packed body may become (a zip bomb ends here).
const maxDecoded = 64 << 20

var bodyUnpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded))

// decodeBody removes the content coding. It is false when the coding is not
// known or the bytes are not of it; then bodies compare as bytes.
func decodeBody(headers []*events.Field, data []byte) ([]byte, bool) {
	switch strings.ToLower(strings.TrimSpace(events.HeaderValue(headers, "Content-Encoding"))) {
	case "", "identity":
		return data, true
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, false
		}
		return readDecoded(r)
	case "deflate":
		r, err := zlib.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, false
		}
		return readDecoded(r)
	case "zstd":
		out, err := bodyUnpacker.DecodeAll(data, nil)
		return out, err == nil
	}
	return nil, false
}

func readDecoded(r io.Reader) ([]byte, bool) {
	out, err := io.ReadAll(io.LimitReader(r, maxDecoded+1))
	return out, err == nil && len(out) <= maxDecoded
}
