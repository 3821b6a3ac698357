package grpc

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"tapedeck/events"
)

// shopFiles are two files of a service, as protoc would write them without
// --include_imports: what they import of Google's is not among them.
const shopFiles = `{"file": [
 {"name": "types.proto", "package": "shop", "syntax": "proto3", "messageType": [{"name": "Item", "field": [
   {"name": "sku", "number": 1, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL", "jsonName": "sku"},
   {"name": "unit_price", "number": 2, "type": "TYPE_DOUBLE", "label": "LABEL_OPTIONAL", "jsonName": "unitPrice"}]}]},
 {"name": "cart.proto", "package": "shop", "syntax": "proto3", "dependency": ["types.proto", "google/protobuf/timestamp.proto", "google/protobuf/any.proto", "google/protobuf/struct.proto"],
  "messageType": [{"name": "Cart", "field": [
   {"name": "id", "number": 1, "type": "TYPE_INT64", "label": "LABEL_OPTIONAL", "jsonName": "id"},
   {"name": "items", "number": 2, "type": "TYPE_MESSAGE", "typeName": ".shop.Item", "label": "LABEL_REPEATED", "jsonName": "items"},
   {"name": "changed_at", "number": 3, "type": "TYPE_MESSAGE", "typeName": ".google.protobuf.Timestamp", "label": "LABEL_OPTIONAL", "jsonName": "changedAt"},
   {"name": "extra", "number": 4, "type": "TYPE_MESSAGE", "typeName": ".google.protobuf.Any", "label": "LABEL_OPTIONAL", "jsonName": "extra"},
   {"name": "facts", "number": 5, "type": "TYPE_MESSAGE", "typeName": ".google.protobuf.Struct", "label": "LABEL_OPTIONAL", "jsonName": "facts"}]}],
  "service": [{"name": "Carts", "method": [{"name": "Get", "inputType": ".shop.Item", "outputType": ".shop.Cart"}]}]}]}`

func shopSet(t testing.TB) *descriptorpb.FileDescriptorSet {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	if err := protojson.Unmarshal([]byte(shopFiles), set); err != nil {
		t.Fatal(err)
	}
	return set
}

func known(t testing.TB, sets ...*descriptorpb.FileDescriptorSet) *Descriptors {
	t.Helper()
	d, err := NewDescriptors(sets...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// cart is a message on the wire: id 7, an item, a time, and a field that no
// descriptor has.
const cart = "\x08\x07\x12\x0c\x0a\x01a\x11\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x02\x08\x01\x62\x03new"

func answerOf(data string) *events.Message {
	return &events.Message{Side: events.Side_RESPONSE, Type: TypeMessage, Size: int64(len(data)), Data: []byte(data)}
}

func TestJSON(t *testing.T) {
	d := known(t, shopSet(t))
	unpackable := "\x22\x0d\x0a\x09x.y/no.No\x12\x00"
	deep := strings.Repeat("\x0b", 200) + strings.Repeat("\x0c", 200)
	for _, test := range []struct {
		name, path, data string
		d                *Descriptors
		want             string
	}{
		{"names", "/shop.Carts/Get", cart, d, `{"id":"7","items":[{"sku":"a","unitPrice":1.5}],"changedAt":"1970-01-01T00:00:01Z","12":"new"}`},
		{"unknown alone", "/shop.Carts/Get", "\x62\x03new", d, `{"12":"new"}`},
		{"empty", "/shop.Carts/Get", "", d, `{}`},
		{"numbers", "/shop.Carts/Get", cart, nil, `{"1":7,"2":{"1":"a","2":"0x3ff8000000000000"},"3":{"1":1},"12":"new"}`},
		{"another method", "/shop.Carts/Put", cart, d, `{"1":7,"2":{"1":"a","2":"0x3ff8000000000000"},"3":{"1":1},"12":"new"}`},
		{"a message's name", "/shop.Cart/Get", "", d, `{}`},
		{"repeated", "/x.Y/Z", "\x08\x01\x12\x00\x08\x02", d, `{"1":[1,2],"2":""}`},
		{"long number", "/x.Y/Z", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x15\x01\x00\x00\x00", d, `{"1":"18446744073709551615","2":"0x00000001"}`},
		{"bytes", "/x.Y/Z", "\x0a\x02\xff\xfe", d, `{"1":"//4="}`},
		{"no type for an Any", "/shop.Carts/Get", unpackable, d, `{"4":{"1":"x.y/no.No","2":""}}`},
		{"other than its descriptor", "/shop.Carts/Get", "\x12\x01\x08", d, `{"2":"CA=="}`},
		{"a map's key that is a number", "/shop.Carts/Get", "\x2a\x0d\x0a\x0b\x0a\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00", d, `{"5":{"1":{"1":["","0x0000000000000000"]}}}`},
		{"groups", "/x.Y/Z", deep, d, ""},
	} {
		got, err := test.d.JSON(test.path, answerOf(test.data))
		if test.want == "" {
			if err == nil && !json.Valid(got) {
				t.Errorf("%s: got %s", test.name, got)
			}
			continue
		}
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
	asked := answerOf("\x0a\x01a")
	asked.Side = events.Side_REQUEST
	if got, err := d.JSON("/shop.Carts/Get", asked); string(got) != `{"sku":"a"}` {
		t.Errorf("request: got %s, %v", got, err)
	}
	cut := answerOf(cart)
	cut.Size++
	if got, err := d.JSON("/shop.Carts/Get", cut); err == nil {
		t.Errorf("a message that was cut reads as %s", got)
	}
	if got, err := d.JSON("/shop.Carts/Get", answerOf("\xff\xff")); err == nil {
		t.Errorf("what is no message reads as %s", got)
	}
}

func TestSets(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "descriptors")
	if sets, err := ReadSets(folder); err != nil || len(sets) != 0 {
		t.Errorf("no folder: %d sets, %v", len(sets), err)
	}
	old := shopSet(t)
	changed := shopSet(t)
	changed.File[1].MessageType[0].Field[0].JsonName = proto.String("cartId")
	for i, set := range []*descriptorpb.FileDescriptorSet{old, changed, old} {
		if err := WriteSet(folder, set); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // what was written first is older
			sets, _ := filepath.Glob(filepath.Join(folder, "*"))
			for _, name := range sets {
				if one, err := ReadSet(name); err == nil && proto.Equal(one, old) {
					os.Chtimes(name, time.Time{}, time.Now().Add(-time.Hour))
				}
			}
			read, err := ReadSets(folder)
			if err != nil || len(read) != 2 || !proto.Equal(read[0], changed) {
				t.Errorf("%d sets, %v, the newest is not the first", len(read), err)
			}
		}
	}
	sets, err := ReadSets(folder)
	if err != nil || len(sets) != 2 || !proto.Equal(sets[0], old) { // written again: the newest
		t.Errorf("%d sets, %v", len(sets), err)
	}
	if got, _ := known(t, changed, old).JSON("/shop.Carts/Get", answerOf("\x08\x07")); string(got) != `{"cartId":"7"}` {
		t.Errorf("the first set does not count: %s", got)
	}
}

func TestBadSets(t *testing.T) {
	alone := shopSet(t)
	alone.File = alone.File[1:]
	if _, err := NewDescriptors(alone); err == nil || !strings.Contains(err.Error(), "types.proto") {
		t.Errorf("a missing import: %v", err)
	}
	for name, data := range map[string]string{"text": "syntax = \"proto3\";", "empty": ""} {
		file := filepath.Join(t.TempDir(), "set")
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSet(file); err == nil || !strings.Contains(err.Error(), "no FileDescriptorSet") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// reflecting is a server with reflection; register chooses the versions.
func reflecting(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	server.RegisterService(&carts, nil)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return l.Addr().String()
}

// both finds the shop's files, and those that are linked.
type both struct{ *Descriptors }

func (b both) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if f, err := b.files.FindFileByPath(path); err == nil {
		return f, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (b both) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := b.files.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// carts is only there to be asked about.
var carts = grpc.ServiceDesc{ServiceName: "shop.Carts", HandlerType: (*any)(nil)}

func TestReflect(t *testing.T) {
	own := known(t, shopSet(t))
	options := func(s *grpc.Server) reflection.ServerOptions {
		return reflection.ServerOptions{Services: s, DescriptorResolver: both{own}}
	}
	for name, register := range map[string]func(*grpc.Server){
		"v1": func(s *grpc.Server) {
			grpc_reflection_v1.RegisterServerReflectionServer(s, reflection.NewServerV1(options(s)))
		},
		"v1alpha": func(s *grpc.Server) {
			grpc_reflection_v1alpha.RegisterServerReflectionServer(s, reflection.NewServer(options(s)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Reflect(t.Context(), reflecting(t, register), nil)
			if err != nil {
				t.Fatal(err)
			}
			d := known(t, set)
			if got, err := d.JSON("/shop.Carts/Get", answerOf(cart)); err != nil || !strings.Contains(string(got), `"unitPrice":1.5`) {
				t.Errorf("got %s, %v", got, err)
			}
			if got, err := d.JSON("/grpc.health.v1.Health/Check", answerOf("\x08\x01")); string(got) != `{"status":"SERVING"}` {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		_, err := Reflect(t.Context(), reflecting(t, func(*grpc.Server) {}), nil)
		if err == nil || !strings.Contains(err.Error(), "UNIMPLEMENTED") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := Reflect(ctx, "127.0.0.1:1", nil); err == nil {
			t.Error("no error")
		}
	})
}

// FuzzJSON: never panics, and what it writes is JSON.
func FuzzJSON(f *testing.F) {
	d := known(f, shopSet(f))
	for _, s := range []string{cart, "", "\x0a\x02\xff\xfe", "\x22\x0d\x0a\x09x.y/no.No\x12\x00", strings.Repeat("\x0b", 50), "\x1a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, request bool) {
		m := answerOf(string(b))
		if request {
			m.Side = events.Side_REQUEST
		}
		for _, d := range []*Descriptors{nil, d} {
			got, err := d.JSON("/shop.Carts/Get", m)
			if err != nil {
				continue
			}
			var v any
			if err := json.Unmarshal(got, &v); err != nil {
				t.Errorf("%x: %s: %v", b, got, err)
			}
			if len(got) > 64+20*len(b) {
				t.Errorf("%x: %d bytes of JSON", b, len(got))
			}
			again, _ := d.JSON("/shop.Carts/Get", m)
			if diff := cmp.Diff(string(got), string(again)); diff != "" || !bytes.Equal(got, again) {
				t.Errorf("not the same twice: %s", diff)
			}
		}
	})
}

// FuzzReflection: whatever a server answers, reading it ends.
func FuzzReflection(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x04\x32\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if answer, err := unframed(b); err == nil {
			submessages(submessage(answer, fileDescriptors), 1)
		}
	})
}

// A server with TLS is verified before it is asked.
func TestReflectVerifies(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { server.Stop(); <-served }()
	trust := x509.NewCertPool()
	trust.AddCert(web.Certificate())
	if set, err := Reflect(t.Context(), "https://"+l.Addr().String(), trust); err != nil || len(set.File) == 0 {
		t.Errorf("%d files, %v", len(set.GetFile()), err)
	}
	if _, err := Reflect(t.Context(), "https://"+l.Addr().String(), nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
}
