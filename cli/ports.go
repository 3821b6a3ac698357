package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// freePorts finds n addresses on loopback that nobody listens on, outside of
// the range that systems give to clients, so that they are still free a moment
// later.
func freePorts(n int) ([]string, error) {
	var found []string
	for tries := 0; len(found) < n; tries++ {
		if tries > 1000 {
			return nil, errors.New("find free ports on 127.0.0.1: all that were tried are in use")
		}
		address := fmt.Sprintf("127.0.0.1:%d", 18000+rand.IntN(12000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer l.Close() // after the last one was found: no address twice
		found = append(found, address)
	}
	return found, nil
}
