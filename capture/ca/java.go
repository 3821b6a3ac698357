package ca

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Of Java's key store "JKS", which every JVM reads; no specification is
// published but its source (sun.security.provider.JavaKeyStore).
const (
	jksMagic       = 0xFEEDFEED
	jksVersion     = 2
	jksCertificate = 2 // an entry that holds one
	jksWhitener    = "Mighty Aphrodite"
	// javaPassword only lets the JVM see that the file is whole: certificates
	// are no secret.
	javaPassword = "changeit"
)

// WriteJavaStore writes the certificates of a bundle into a file that Java
// trusts with JavaTrust.
func WriteJavaStore(path, bundle string) error {
	text, err := os.ReadFile(bundle)
	if err == nil {
		err = replace(path, javaStore(text), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write Java's trust store: %w", err)
	}
	return nil
}

// JavaTrust are the options by which a JVM reads its roots from a file of
// WriteJavaStore.
func JavaTrust(path string) []string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return []string{
		"-Djavax.net.ssl.trustStore=" + path,
		"-Djavax.net.ssl.trustStoreType=JKS",
		"-Djavax.net.ssl.trustStorePassword=" + javaPassword,
	}
}

func javaStore(bundle []byte) []byte {
	var entries bytes.Buffer
	count := uint32(0)
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		count++
		entries.Write(binary.BigEndian.AppendUint32(nil, jksCertificate))
		javaText(&entries, fmt.Sprintf("tapedeck-%d", count))
		entries.Write(make([]byte, 8)) // made in 1970: nobody asks
		javaText(&entries, "X.509")
		entries.Write(binary.BigEndian.AppendUint32(nil, uint32(len(block.Bytes))))
		entries.Write(block.Bytes)
	}
	var store []byte
	for _, word := range []uint32{jksMagic, jksVersion, count} {
		store = binary.BigEndian.AppendUint32(store, word)
	}
	store = append(store, entries.Bytes()...)
	sum := sha1.New()
	sum.Write([]byte("\x00" + strings.Join(strings.Split(javaPassword, ""), "\x00"))) // UTF-16
	sum.Write([]byte(jksWhitener))
	sum.Write(store)
	return sum.Sum(store)
}

// javaText writes a text of ASCII as Java's DataOutput does.
func javaText(to *bytes.Buffer, s string) {
	to.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s))))
	to.WriteString(s)
}
