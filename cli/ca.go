package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tapedeck/capture/ca"
	"tapedeck/internal/service"
)

// adminCA prints the certificate for others to trust: on stdout the
// certificate alone, so that it can go into a file.
type adminCA struct {
	service.Flags
	CA string `name:"ca" env:"TAPEDECK_CA" placeholder:"FILE" help:"File of the authority, key and certificate. Default: ca.pem in --data."`
}

func (c *adminCA) Run(_ context.Context, env *Env) error {
	if err := c.MakeData(); err != nil {
		return err
	}
	authority, err := openCA(c.Data, &c.CA)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "%s, until %s\nSHA-256 %s\ncertificate %s, key %s\n", authority, authority.Certificate.NotAfter.Format(time.DateOnly),
		authority.Fingerprint(), ca.CertificateFile(c.Data), c.CA)
	_, err = env.Stdout.Write(authority.PEM())
	return err
}

// openCA opens the authority, by default that of the data folder, and puts its
// certificate there.
func openCA(data string, file *string) (*ca.CA, error) {
	if *file == "" {
		*file = ca.File(data)
	}
	authority, err := ca.Open(*file, time.Now())
	if err == nil {
		err = authority.WriteCertificate(ca.CertificateFile(data))
	}
	return authority, service.Hint(err, "choose a folder that can be written with --data DIR, or a file with --ca FILE")
}

// trustVariables are the environment of a program that trusts our authority
// beside what it trusted before, and what a JVM must be told to.
func trustVariables(data, file string) (variables, java []string, err error) {
	authority, err := openCA(data, &file)
	if err != nil {
		return nil, nil, err
	}
	bundle, store := filepath.Join(data, "ca-bundle.pem"), filepath.Join(data, "ca-java.jks")
	err = authority.WriteBundle(bundle, os.Getenv)
	if err == nil {
		err = ca.WriteJavaStore(store, bundle)
	}
	if err != nil {
		return nil, nil, service.Hint(err, "--outbound-tls pass records TLS as connections, without opening it")
	}
	return ca.Variables(bundle), ca.JavaTrust(store), nil
}
