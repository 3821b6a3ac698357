package grpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The reflection service (grpc/reflection/v1/reflection.proto of gRPC) has two
// names with the same messages; servers know one or both.
var reflectionMethods = []string{
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}

// Fields of its messages.
const (
	fileByFilename       = 3 // of a request
	fileContainingSymbol = 4
	listServices         = 7
	fileDescriptors      = 4 // of an answer
	services             = 6
	reflectionError      = 7
)

// Reflect asks the server at HOST:PORT, or https://HOST:PORT, what its services
// are. trust are roots to verify it by; nil: the system's.
func Reflect(ctx context.Context, address string, trust *x509.CertPool) (*descriptorpb.FileDescriptorSet, error) {
	url := strings.TrimSuffix(address, "/")
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	transport := &http.Transport{Protocols: &http.Protocols{}, TLSClientConfig: &tls.Config{RootCAs: trust}}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	var failed []error
	for _, method := range reflectionMethods {
		r := inquiry{ctx: ctx, client: &http.Client{Transport: transport}, url: url + method, asked: map[string]bool{}, have: map[string]bool{}, set: &descriptorpb.FileDescriptorSet{}}
		err := r.all()
		if err == nil {
			return r.set, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("ask %s for its services: %w", address, errors.Join(failed...))
}

// inquiry is one conversation; each question is a call of its own.
type inquiry struct {
	ctx    context.Context
	client *http.Client
	url    string
	asked  map[string]bool // .proto files by name
	have   map[string]bool
	size   int
	set    *descriptorpb.FileDescriptorSet
}

func (r *inquiry) all() error {
	answer, err := r.ask(listServices, "*")
	if err != nil {
		return err
	}
	for _, service := range submessages(submessage(answer, services), 1) {
		name := string(submessage(service, 1))
		if strings.HasPrefix(name, "grpc.reflection.") {
			continue
		}
		if err := r.files(fileContainingSymbol, name); err != nil {
			return err
		}
	}
	// Servers may leave out what a file imports.
	for i := 0; i < len(r.set.File); i++ {
		for _, name := range r.set.File[i].GetDependency() {
			if _, err := protoregistry.GlobalFiles.FindFileByPath(name); err == nil || r.have[name] || r.asked[name] {
				continue // NewDescriptors knows it
			}
			r.asked[name] = true
			if err := r.files(fileByFilename, name); err != nil {
				return err
			}
		}
	}
	if len(r.set.File) == 0 {
		return errors.New("it has no services")
	}
	return nil
}

// files asks for a file, and takes all that come with it.
func (r *inquiry) files(question protowire.Number, name string) error {
	answer, err := r.ask(question, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, raw := range submessages(submessage(answer, fileDescriptors), 1) {
		f := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if r.size += len(raw); r.size > maxDescriptors || len(r.set.File) >= maxFiles {
			return errors.New("it has too many of them")
		}
		if !r.have[f.GetName()] {
			r.have[f.GetName()] = true
			r.set.File = append(r.set.File, f)
		}
	}
	return nil
}

// ask sends one question and returns the message that answers it.
func (r *inquiry) ask(question protowire.Number, value string) ([]byte, error) {
	message := protowire.AppendString(protowire.AppendTag(nil, question, protowire.BytesType), value)
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	request, err := http.NewRequestWithContext(r.ctx, http.MethodPost, r.url, bytes.NewReader(framed))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxDescriptors))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", answer.Status)
	}
	status, text := answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message")
	if status == "" { // an answer of headers alone
		status, text = answer.Header.Get("Grpc-Status"), answer.Header.Get("Grpc-Message")
	}
	if status != "0" {
		return nil, fmt.Errorf("%s %s", codeName(status), text)
	}
	return unframed(body)
}

func unframed(body []byte) ([]byte, error) {
	if len(body) < prefixSize || body[0] != 0 || int64(binary.BigEndian.Uint32(body[1:prefixSize])) > int64(len(body)-prefixSize) {
		return nil, errors.New("no answer of the reflection service")
	}
	message := body[prefixSize : prefixSize+binary.BigEndian.Uint32(body[1:prefixSize])]
	if failed := submessage(message, reflectionError); failed != nil {
		return nil, fmt.Errorf("it says: %s", submessage(failed, 2))
	}
	return message, nil
}

// submessages are the values of a field that holds texts or messages.
func submessages(message []byte, number protowire.Number) [][]byte {
	var all [][]byte
	fields, _ := fieldsOf(message)
	for _, f := range fields {
		if f.number == number && f.kind == protowire.BytesType {
			all = append(all, f.value)
		}
	}
	return all
}

func submessage(message []byte, number protowire.Number) []byte {
	if all := submessages(message, number); len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}
