package traffic

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Histogram counts durations in 4 bins a doubling, so that any quantile is
// known to ±9 %. Histograms add up exactly. The zero value is empty.
//
// Packed it is, for each bin that is not empty and in ascending order, the
// bin's number (1 byte) and its count (uvarint). Bin 0 is below 1 µs; bin
// 1+4d+q begins at 2^(d+q/4) µs.
type Histogram struct {
	bins []bin // ascending, none empty: few of the 253 are in use
}

type bin struct {
	number uint8
	count  uint64
}

// quarters are 2^63 times 2^(1/4), 2^(2/4), 2^(3/4).
var quarters = [3]uint64{0x9837f0518db8a96f, 0xb504f333f9de6484, 0xd744fccad69d6af4}

func binOf(micros int64) uint8 {
	if micros < 1 {
		return 0
	}
	doublings := bits.Len64(uint64(micros)) - 1
	mantissa := uint64(micros) << (63 - doublings)
	quarter := 0
	for quarter < 3 && mantissa >= quarters[quarter] {
		quarter++
	}
	return uint8(1 + 4*doublings + quarter)
}

// edge is where the bin begins, in µs.
func edge(number uint8) float64 {
	if number == 0 {
		return 0
	}
	return math.Exp2(float64(number-1) / 4)
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) { h.add(binOf(d.Microseconds()), 1) }

func (h *Histogram) add(number uint8, count uint64) {
	// From the end: most often the bin is there, or the last one.
	i := len(h.bins)
	for i > 0 && h.bins[i-1].number > number {
		i--
	}
	if i > 0 && h.bins[i-1].number == number {
		h.bins[i-1].count += count
		return
	}
	h.bins = append(h.bins, bin{})
	copy(h.bins[i+1:], h.bins[i:])
	h.bins[i] = bin{number, count}
}

// Merge adds the counts of other.
func (h *Histogram) Merge(other *Histogram) {
	for _, b := range other.bins {
		h.add(b.number, b.count)
	}
}

// Subtract takes out counts that were added before.
func (h *Histogram) Subtract(other *Histogram) {
	for _, b := range other.bins {
		for i := range h.bins {
			if h.bins[i].number == b.number {
				h.bins[i].count -= min(b.count, h.bins[i].count)
			}
		}
	}
	h.bins = slices.DeleteFunc(h.bins, func(b bin) bool { return b.count == 0 })
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, b := range h.bins {
		n += b.count
	}
	return n
}

// Quantile is the duration that the share q (0 to 1) of all durations do not
// exceed, to ±9 %; 0 when the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := q * float64(h.Count())
	var below float64
	for i, b := range h.bins {
		if below+float64(b.count) < rank && i < len(h.bins)-1 {
			below += float64(b.count)
			continue
		}
		share := min(max((rank-below)/float64(b.count), 0), 1)
		lower, upper := edge(b.number), edge(b.number+1)
		micros := lower + share*(upper-lower)
		if lower > 0 { // bins are even on a logarithmic scale
			micros = lower * math.Pow(upper/lower, share)
		}
		return time.Duration(micros * float64(time.Microsecond))
	}
	return 0
}

// AppendBinary packs the histogram; it never fails.
func (h *Histogram) AppendBinary(b []byte) ([]byte, error) {
	for _, n := range h.bins {
		b = binary.AppendUvarint(append(b, n.number), n.count)
	}
	return b, nil
}

var errHistogram = errors.New("not a packed histogram")

// MergeBinary adds the counts of a packed histogram.
func (h *Histogram) MergeBinary(b []byte) error {
	for last := -1; len(b) > 0; {
		number := b[0]
		count, n := binary.Uvarint(b[1:])
		if n <= 0 || int(number) <= last || count == 0 {
			return errHistogram
		}
		h.add(number, count)
		last, b = int(number), b[1+n:]
	}
	return nil
}
