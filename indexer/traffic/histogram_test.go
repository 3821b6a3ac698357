package traffic

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBinEdges(t *testing.T) {
	for number := range 252 {
		lower := edge(uint8(number))
		if lower < 1 || lower > 1<<40 {
			continue // below a µs, or (over 12 days) beyond what Exp2 tells apart
		}
		first := int64(math.Ceil(lower))
		if first < int64(edge(uint8(number+1))) && binOf(first) != uint8(number) {
			t.Errorf("binOf(%d) = %d, want %d", first, binOf(first), number)
		}
		if got := binOf(first - 1); got >= uint8(number) {
			t.Errorf("binOf(%d) = %d, want less than %d", first-1, got, number)
		}
	}
	if got := binOf(math.MaxInt64); got != 252 {
		t.Errorf("binOf(the greatest) = %d, want 252", got)
	}
	if binOf(0) != 0 || binOf(-7) != 0 || binOf(1) != 1 {
		t.Error("what is below 1 µs belongs to bin 0, 1 µs to bin 1")
	}
}

// What is stored is stored for ever: this form never changes.
func TestHistogramPacked(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, time.Microsecond, 2 * time.Microsecond, 3 * time.Microsecond, time.Millisecond, time.Second, time.Second, time.Hour} {
		h.Add(d)
	}
	for range 300 {
		h.Add(20 * time.Millisecond)
	}
	got, _ := h.AppendBinary(nil)
	want := []byte{0, 1, 1, 1, 5, 1, 7, 1, 40, 1, 58, 0xac, 2, 80, 2, 127, 1}
	if !slices.Equal(got, want) {
		t.Errorf("packed = %v, want %v", got, want)
	}
}

func TestHistogramQuantile(t *testing.T) {
	var empty Histogram
	if got := empty.Quantile(0.5); got != 0 {
		t.Errorf("median of nothing = %s", got)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var h Histogram
	var all []float64
	for range 20_000 {
		d := time.Duration(math.Exp(r.NormFloat64()*1.5+9)) * time.Microsecond
		h.Add(d)
		all = append(all, float64(d))
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.95, 0.99, 0.999} {
		want := all[int(q*float64(len(all)))]
		if got := float64(h.Quantile(q)); math.Abs(got-want) > 0.1*want {
			t.Errorf("quantile %v = %s, want %s ±9 %%", q, time.Duration(got), time.Duration(want))
		}
	}
	if h.Quantile(1) < time.Duration(all[len(all)-1])*4/5 {
		t.Errorf("quantile 1 = %s, the greatest is %s", h.Quantile(1), time.Duration(all[len(all)-1]))
	}
}

// Merging is adding: in any order and split anyhow, packed or not.
func TestHistogramMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var whole, merged, packed Histogram
	for range 50 {
		var part Histogram
		for range r.IntN(100) {
			d := time.Duration(r.Int64() >> r.IntN(63))
			part.Add(d)
			whole.Add(d)
		}
		merged.Merge(&part)
		b, _ := part.AppendBinary(nil)
		if err := packed.MergeBinary(b); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(whole.bins, merged.bins) || !slices.Equal(whole.bins, packed.bins) {
		t.Errorf("histograms differ:\nwhole  %v\nmerged %v\npacked %v", whole.bins, merged.bins, packed.bins)
	}
}

// A packed histogram reads as itself or not at all.
func FuzzHistogram(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 2, 200, 1})
	f.Add([]byte{2, 1, 1, 1})
	f.Add([]byte{1, 0})
	f.Add([]byte{252, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again Histogram
		if h.MergeBinary(b) != nil {
			return
		}
		packed, _ := h.AppendBinary(nil)
		if err := again.MergeBinary(packed); err != nil || !slices.Equal(h.bins, again.bins) {
			t.Errorf("%x reads as %v, packed anew as %v (%v)", b, h.bins, again.bins, err)
		}
		h.Quantile(0.99)
	})
}
