package weir

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/route"
)

// premises are a house whose tenants acme and other have the same, of which all
// but the ids of outputs is called the same.
type premises struct {
	*house
	n            int    // of things made so far
	ours, theirs string // ids of outputs
}

// possessions are what each tenant has.
const possessions = `---
kind: Project
name: search
tenant: TENANT
---
kind: Policy
name: extra
tenant: TENANT
outputs: {mode: redacted}
---
kind: Policy
name: extra-2
tenant: TENANT
outputs: {mode: redacted}
---
kind: Budget
name: cap
tenant: TENANT
limit: 500 USD
window: month
---
kind: Budget
name: tokens
tenant: TENANT
limit: 100M tokens
window: month
`

func newPremises(t *testing.T) *premises {
	t.Helper()
	quiet := "---\n{kind: Tenant, name: quiet}\n---\n{kind: Price, model: cached, currency: USD, effective: 2026-01-01, per_million: {input: 1, output: 1}}\n---\n{kind: Price, model: embed, currency: USD, effective: 2026-01-01, per_million: {input: 1}}\n" + strings.ReplaceAll(possessions, "TENANT", "quiet")
	p := &premises{house: withRoles(t, strings.ReplaceAll(possessions, "TENANT", "acme")+strings.ReplaceAll(possessions, "TENANT", "other")+quiet)}
	now := time.Now()
	p.Clock = func() time.Time { return now } // forecasts stay as they are
	for _, tenant := range []string{"acme", "other"} {
		p.Key(tenant, "theirs", auth.Member)
	}
	p.ours, p.theirs = p.said("admin", "sim", "say: hi"), p.said("neighbour", "sim", "say: hi")
	p.said("member", "cached", "say: hi")
	p.bury("acme")
	p.bury("quiet")
	for n := range int64(3) {
		p.grant("quiet", "cap", "far", n+1, 1000, time.Hour)
	}
	// What gatewaytest has is one backend.
	two, err := simulator.New(simulator.Config{Models: map[string]simulator.Profile{"second": {}}})
	if err != nil {
		t.Fatal(err)
	}
	known := []route.Model{{Name: "second", MaxOutputTokens: 10, Targets: []route.Target{{Name: "b1", Kind: "simulator", Model: "second", Backend: two}}}}
	for name := range models() {
		known = append(known, route.Model{Name: name, MaxOutputTokens: 10, Targets: []route.Target{{Name: "b0", Kind: "simulator", Model: name, Backend: p.Sim}}})
	}
	router, err := route.New(known)
	if err != nil {
		t.Fatal(err)
	}
	p.Router = func() *route.Router { return router }
	return p
}

// TestEveryRPC walks all methods of weir.v1. Each must have a row.
func TestEveryRPC(t *testing.T) {
	p := newPremises(t)
	left := map[string]bool{}
	for name := range rows {
		left[name] = true
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("weir.v1", func(file protoreflect.FileDescriptor) bool {
		for s := range each(file.Services()) {
			for m := range each(s.Methods()) {
				name := string(s.Name()) + "/" + string(m.Name())
				row, known := rows[name]
				delete(left, name)
				if !known {
					t.Errorf("%s has no row in rpcs_test.go: say there who may call it, and what a good and a bad request is", name)
					continue
				}
				t.Run(name, func(t *testing.T) {
					at := *p.house
					at.t = t
					r := &rpc{premises: p, t: t, method: m, row: row}
					old := p.house
					p.house = &at
					defer func() { p.house = old }()
					r.prove()
				})
			}
		}
		return true
	})
	for name := range left {
		t.Errorf("there is a row of %s, and no such method", name)
	}
}

// each walks a list of descriptors.
func each[T any](list interface {
	Len() int
	Get(int) T
}) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for i := range list.Len() {
			if !yield(list.Get(i)) {
				return
			}
		}
	}
}

// rpc is a method under test.
type rpc struct {
	*premises
	t      *testing.T
	method protoreflect.MethodDescriptor
	row    rpcRow
}

func (r *rpc) prove() {
	r.proveRoles()
	r.proveSlips()
	r.proveTenants()
	r.provePages()
	r.proveMasks()
	r.proveEtags()
}

// call calls the method, or another of the same form, and returns all that it
// answers.
func (r *rpc) call(who auth.Role, req proto.Message) ([]proto.Message, error) {
	return r.invoke(who, r.method, req)
}

func (r *rpc) invoke(who auth.Role, method protoreflect.MethodDescriptor, req proto.Message) (all []proto.Message, err error) {
	ctx := r.as(string(who))
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name()))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(stream.SendMsg(req), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for {
		answer := r.message(method.Output())
		err := stream.RecvMsg(answer)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, answer)
	}
}

// message makes an empty message.
func (r *rpc) message(of protoreflect.MessageDescriptor) proto.Message {
	r.t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
	if err != nil {
		r.t.Fatal(err)
	}
	return kind.New().Interface()
}

// has tells whether a request has a field.
func (r *rpc) has(field string) bool { return r.field(field) != nil }

func (r *rpc) field(name string) protoreflect.FieldDescriptor {
	return r.method.Input().Fields().ByName(protoreflect.Name(name))
}

func (r *rpc) good() proto.Message {
	if r.row.fresh != nil {
		return r.row.fresh(r.premises)
	}
	return r.row.of(r.premises, "acme")
}

// with is a request with another value of a field, or without it.
func (r *rpc) with(req proto.Message, field string, value any) proto.Message {
	r.t.Helper()
	out := proto.Clone(req)
	m, fd := out.ProtoReflect(), r.field(field)
	switch v := value.(type) {
	case nil:
		m.Clear(fd)
	case []string:
		m.Clear(fd)
		for _, s := range v {
			m.Mutable(fd).List().Append(protoreflect.ValueOf(s))
		}
	default:
		m.Set(fd, protoreflect.ValueOf(v))
	}
	return out
}

// Of every role some call it, and all others are denied.
func (r *rpc) proveRoles() {
	for _, role := range everyone {
		want := no
		if slices.Contains(r.row.roles, role) {
			want = fine
		}
		if _, err := r.call(role, r.good()); failure(err) != want {
			r.t.Errorf("as %s: %v, want %s", role, err, want)
		}
	}
	if _, err := r.call("nobody", r.good()); failure(err) != "Unauthenticated CREDENTIALS_INVALID" {
		r.t.Errorf("without a key: %v", err)
	}
}

// What is wrong with a request is told by the name of the field.
func (r *rpc) proveSlips() {
	slips := map[string]any{}
	for field, value := range map[string]any{"name": "?", "parent": "?", "page_size": int32(-1), "page_token": "?"} {
		if r.has(field) {
			slips[field] = value
		}
	}
	for field, value := range r.row.slips {
		slips[field] = value
	}
	if (len(slips) == 0) != (r.row.faultless != "") {
		r.t.Errorf("%d fields can be wrong; the row says %q", len(slips), r.row.faultless)
	}
	good := r.good()
	for field, value := range slips {
		_, err := r.call(r.row.roles[0], r.with(good, field, value))
		if !strings.HasPrefix(failure(err), "InvalidArgument INVALID_REQUEST "+field+"=") {
			r.t.Errorf("%s is %v: %s: %v", field, value, failure(err), err)
		}
	}
}

// nameOf is the name of what a request is about, and the field that has it.
func (r *rpc) nameOf(req proto.Message) (name, field string) {
	for _, field := range []string{"name", "parent"} {
		if r.has(field) {
			return req.ProtoReflect().Get(r.field(field)).String(), field
		}
	}
	return "", ""
}

// told is all that an error says, without what is each call's own: its id, and
// the name that it asked for.
func told(err error, name string) string {
	p := status.Convert(err).Proto()
	var all []string
	for _, d := range p.Details {
		m, err := d.UnmarshalNew()
		if err != nil {
			return err.Error()
		}
		if info, ok := m.(*errdetails.ErrorInfo); ok {
			delete(info.Metadata, "request_id")
		}
		all = append(all, string(m.ProtoReflect().Descriptor().Name())+prototext.MarshalOptions{Multiline: true}.Format(m))
	}
	text := fmt.Sprint(p.Code, p.Message, all)
	if name != "" {
		text = strings.ReplaceAll(text, name, "NAME")
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "xxxxx", "other")), " ")
}

// What another tenant has is told as what is not there.
func (r *rpc) proveTenants() {
	theirs, none := r.row.of(r.premises, "other"), r.row.of(r.premises, "xxxxx")
	if proto.Equal(theirs, none) != (r.row.global != "") {
		r.t.Fatalf("%v and %v are alike; the row says %q", theirs, none, r.row.global)
	}
	if r.row.global != "" && r.ofTenant() {
		r.t.Errorf("its name is a tenant's, and the row says that %s", r.row.global)
	}
	missing := ""
	if name, field := r.nameOf(theirs); field == "name" && r.row.global == "" || strings.Count(name, "/") > 1 {
		missing = r.proveGone(field)
	}
	if r.row.global != "" {
		return
	}
	name, _ := r.nameOf(theirs)
	nobodys, _ := r.nameOf(none)
	for _, role := range []auth.Role{auth.Admin, auth.Member, auth.Viewer, auth.Billing} {
		_, exists := r.call(role, theirs)
		_, not := r.call(role, none)
		if a, b := told(exists, name), told(not, nobodys); a != b {
			r.t.Errorf("as %s another tenant is told as\n%s\none that is not there as\n%s", role, a, b)
		}
		if !slices.Contains(r.row.roles, role) {
			if code := failure(exists); code != no && code != absent {
				r.t.Errorf("as %s of another tenant: %v", role, exists)
			}
			continue
		}
		want := absent
		if r.row.denied {
			want = no
		}
		if failure(exists) != want {
			r.t.Errorf("as %s of another tenant: %v, want %s", role, exists, want)
		}
		if !r.row.denied && missing != "" && missing != told(exists, name) {
			r.t.Errorf("as %s another tenant's is told as\n%s\nan own one that is not there as\n%s", role, told(exists, name), missing)
		}
	}
}

// proveGone asks for what is not there, and returns what is told.
func (r *rpc) proveGone(field string) string {
	own := r.good()
	name, _ := r.nameOf(own)
	last := r.row.gone
	if last == "" {
		last = "absent"
	}
	name = name[:strings.LastIndex(name, "/")+1] + last
	_, err := r.call(r.row.roles[0], r.with(own, field, name))
	if failure(err) != absent {
		r.t.Errorf("%s is told as %v", name, err)
	}
	return told(err, name)
}

// ofTenant tells whether the contract says that a request names what a tenant
// has.
func (r *rpc) ofTenant() bool {
	_, field := r.nameOf(r.message(r.method.Input()))
	if field == "" {
		return false
	}
	reference, ok := proto.GetExtension(r.field(field).Options(), annotations.E_ResourceReference).(*annotations.ResourceReference)
	if !ok || reference == nil {
		return true
	}
	tenants := false
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		resource, ok := proto.GetExtension(m.Descriptor().Options(), annotations.E_Resource).(*annotations.ResourceDescriptor)
		if ok && resource != nil && slices.Contains([]string{reference.Type, reference.ChildType}, resource.Type) {
			tenants = strings.HasPrefix(resource.Pattern[0], "tenants/")
			return false
		}
		return true
	})
	return tenants
}
