package cli

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// output is the standard output of this process. It remembers the first write
// that failed: a list that was cut off by a full disk is not a success.
type output struct {
	*os.File
	failed atomic.Pointer[error]
}

// Write writes to the file.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.File.Write(b)
	if err != nil {
		o.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// lost is the error of a write to w that failed.
func lost(w io.Writer) error {
	o, ok := w.(*output)
	if !ok || o.failed.Load() == nil {
		return nil
	}
	return fmt.Errorf("print: %w", *o.failed.Load())
}

// fileOf is the file behind w, for a program that inherits it: a pipe in
// between would hide the terminal from it.
func fileOf(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.File
	}
	return w
}
