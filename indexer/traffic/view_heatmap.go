package traffic

import (
	"math"
	"time"
)

// HeatMap counts exchanges by time and duration.
type HeatMap struct {
	SeriesRange
	// Bounds are the upper bounds of the rows, ascending and without gaps:
	// the first row begins at 0 or where no exchange was faster.
	Bounds []time.Duration `json:"bounds_ns"`
	Points []HeatMapPoint  `json:"points"` // one for every step with an exchange
}

// HeatMapPoint is one bucket.
type HeatMapPoint struct {
	Time   time.Time `json:"time"`   // start of the bucket
	Counts []int64   `json:"counts"` // by row
}

// maxRows is how many rows of a heat map can be told apart.
const maxRows = 48

// rowsOf is how the bins of a histogram make rows.
type rowsOf struct {
	width       int // bins of a row: 1, 2 or 4, a doubling
	first, last int // row
}

// at is the row of a bin; bin 0, below 1 µs, is a row of its own.
func (r rowsOf) at(number uint8) int {
	if number == 0 {
		return 0
	}
	return 1 + int(number-1)/r.width
}

func (r rowsOf) count() int { return r.last - r.first + 1 }

// bound is the upper bound of a row.
func (r rowsOf) bound(row int) time.Duration {
	bin := min(1+row*r.width, 253)
	return time.Duration(min(edge(uint8(bin))*float64(time.Microsecond), math.MaxInt64/2))
}

// chooseRows takes the finest rows of which there are not too many.
func chooseRows(h *Histogram) rowsOf {
	r := rowsOf{width: 1}
	for ; ; r.width *= 2 {
		r.first, r.last = r.at(h.bins[0].number), r.at(h.bins[len(h.bins)-1].number)
		if r.count() <= maxRows || r.width == 4 {
			return r
		}
	}
}

func (d *seriesData) heatMap() *HeatMap {
	m := &HeatMap{SeriesRange: d.SeriesRange, Bounds: []time.Duration{}, Points: []HeatMapPoint{}}
	var whole Histogram
	for _, t := range d.cells {
		whole.Merge(&t.histogram)
	}
	if len(whole.bins) == 0 {
		return m
	}
	rows := chooseRows(&whole)
	for row := rows.first; row <= rows.last; row++ {
		m.Bounds = append(m.Bounds, rows.bound(row))
	}
	// Without keys to split by there is one group.
	for at, t := range d.at(0) {
		if t == nil {
			continue
		}
		p := HeatMapPoint{Time: at, Counts: make([]int64, rows.count())}
		for _, b := range t.histogram.bins {
			p.Counts[rows.at(b.number)-rows.first] += int64(b.count)
		}
		m.Points = append(m.Points, p)
	}
	return m
}
