package redact

import (
	"fmt"
	"os"
)

// watched is a file that is read again when it changes.
type watched struct {
	path    string
	stamp   string // of the version that was looked at last
	problem error  // why that one can't be used
}

// changed says that there is a version that was not looked at. A file that is
// gone is one.
func (w *watched) changed() bool {
	stamp := w.look()
	if stamp == w.stamp {
		return false
	}
	w.stamp = stamp
	return true
}

// look tells versions of the file apart.
func (w *watched) look() string {
	info, err := os.Stat(w.path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
}
