// Command install builds the S3 server that tests use, once, and prints where
// it is.
package main

import (
	"context"
	"fmt"
	"os"

	"tapedeck/internal/s3test"
)

func main() {
	path, err := s3test.Install(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "install the S3 server for tests:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
