package weir

import (
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/weir-gateway/weir/server/auth"
)

// What TestEveryRPC proves of pages, masks and etags, by the form of requests.

// What lists, pages.
func (r *rpc) provePages() {
	form := []bool{r.has("page_size"), r.has("page_token"), r.method.Output().Fields().ByName("next_page_token") != nil}
	pages := slices.Contains(form, true)
	if slices.Contains(form, false) == pages || strings.HasPrefix(string(r.method.Name()), "List") && !pages {
		r.t.Errorf("it is half a list: page_size, page_token, next_page_token: %v", form)
	}
	if !pages {
		return
	}
	req := r.row.of(r.premises, "acme")
	if r.row.list != nil {
		req = r.row.list(r.premises)
	}
	// Platform sees most.
	who := r.row.roles[len(r.row.roles)-1]
	whole, _ := r.pages(who, req, 0)
	single, tokens := r.pages(who, req, 1)
	if len(whole) < 2 || len(whole) != len(single) || len(tokens) != len(whole)-1 {
		r.t.Fatalf("%d in a page, %d one by one with %d tokens", len(whole), len(single), len(tokens))
	}
	for i := range whole {
		if !proto.Equal(whole[i], single[i]) {
			r.t.Errorf("number %d is\n%v in a page and\n%v by itself", i, whole[i], single[i])
		}
	}
	// More than a page can have is taken for that (AIP-158).
	if most, _ := r.pages(who, req, math.MaxInt32); len(most) != len(whole) {
		r.t.Errorf("%d in the largest page, want %d", len(most), len(whole))
	}
	foreign := map[string]proto.Message{"e30": r.with(req, "page_token", "e30")}
	if r.row.global == "" {
		foreign["another tenant's"] = r.with(r.row.of(r.premises, "other"), "page_token", tokens[0])
	}
	for what, req := range foreign {
		if _, err := r.call(who, req); failure(err) != "InvalidArgument INVALID_REQUEST page_token=" {
			r.t.Errorf("token %s: %v", what, err)
		}
	}
}

// pages reads a list to its end and returns what is in it, and all tokens.
func (r *rpc) pages(who auth.Role, req proto.Message, size int32) (all []proto.Message, tokens []string) {
	r.t.Helper()
	req = r.with(req, "page_size", size)
	for {
		answers, err := r.call(who, req)
		if err != nil {
			r.t.Fatal(err)
		}
		page := answers[0].ProtoReflect()
		list := page.Get(r.method.Output().Fields().ByNumber(1)).List()
		if size > 0 && list.Len() > int(size) {
			r.t.Errorf("a page of %d has %d", size, list.Len())
		}
		for i := range list.Len() {
			all = append(all, list.Get(i).Message().Interface())
		}
		token := page.Get(r.method.Output().Fields().ByName("next_page_token")).String()
		if token == "" {
			return all, tokens
		}
		tokens = append(tokens, token)
		req = r.with(req, "page_token", token)
	}
}

// Of what a mask names there is as much as without it, and of the rest nothing.
func (r *rpc) proveMasks() {
	if !r.has("read_mask") {
		return
	}
	who, req := r.row.roles[len(r.row.roles)-1], r.row.of(r.premises, "acme")
	resource := r.method.Output().Fields().ByNumber(1).Message()
	first := resource.Fields().ByNumber(1)
	read := func(paths ...string) (all []protoreflect.Message) {
		r.t.Helper()
		answers, err := r.call(who, r.masked(req, paths...))
		if err != nil {
			r.t.Fatal(err)
		}
		for _, a := range answers {
			field := r.method.Output().Fields().ByNumber(1)
			if !field.IsList() {
				all = append(all, a.ProtoReflect().Get(field).Message())
				continue
			}
			list := a.ProtoReflect().Get(field).List()
			for i := range list.Len() {
				all = append(all, list.Get(i).Message())
			}
		}
		return all
	}
	whole, starred, some := read(), read("*"), read(string(first.Name()))
	if len(whole) == 0 || len(whole) != len(starred) || len(whole) != len(some) {
		r.t.Fatalf("%d without a mask, %d with *, %d with %s", len(whole), len(starred), len(some), first.Name())
	}
	for i := range whole {
		want := whole[i].New()
		want.Set(first, whole[i].Get(first))
		if !proto.Equal(some[i].Interface(), want.Interface()) || !proto.Equal(starred[i].Interface(), whole[i].Interface()) {
			r.t.Errorf("masked are\n%v\n%v of\n%v", some[i], starred[i], whole[i])
		}
	}
	for _, bad := range []string{"colour", string(first.Name()) + ".colour", ""} {
		if _, err := r.call(who, r.masked(req, bad)); failure(err) != "InvalidArgument INVALID_REQUEST read_mask=" {
			r.t.Errorf("mask %q: %v", bad, err)
		}
	}
}

func (r *rpc) masked(req proto.Message, paths ...string) proto.Message {
	out := proto.Clone(req)
	mask := &fieldmaskpb.FieldMask{Paths: paths}
	out.ProtoReflect().Set(r.field("read_mask"), protoreflect.ValueOfMessage(mask.ProtoReflect()))
	return out
}

// Who has read what is no longer so changes nothing.
func (r *rpc) proveEtags() {
	if r.has("etag") != (r.row.read != "") {
		r.t.Fatalf("it has an etag: %v; the row says that %q reads it", r.has("etag"), r.row.read)
	}
	if r.row.read == "" {
		return
	}
	req := r.good()
	name, _ := r.nameOf(req)
	before, tag := r.resource(name)
	stale := func(tag string, kept proto.Message) {
		r.t.Helper()
		if _, err := r.call(auth.Admin, r.with(req, "etag", tag)); failure(err) != "Aborted RESOURCE_CHANGED" {
			r.t.Errorf("etag %q: %v", tag, err)
		}
		if now, _ := r.resource(name); !proto.Equal(now, kept) {
			r.t.Errorf("a stale etag left\n%v of\n%v", now, kept)
		}
	}
	stale("none", before)
	r.row.change(r.premises, name)
	changed, next := r.resource(name)
	stale(tag, changed)
	if _, err := r.call(auth.Admin, r.with(req, "etag", next)); err != nil || tag == next {
		r.t.Errorf("etag %q after %q: %v", next, tag, err)
	}
}

// resource reads what a name stands for, and its etag.
func (r *rpc) resource(name string) (proto.Message, string) {
	r.t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("weir.v1." + strings.ReplaceAll(r.row.read, "/", ".")))
	if err != nil {
		r.t.Fatal(err)
	}
	method := d.(protoreflect.MethodDescriptor)
	req := r.message(method.Input())
	req.ProtoReflect().Set(method.Input().Fields().ByName("name"), protoreflect.ValueOfString(name))
	answers, err := r.invoke(auth.Admin, method, req)
	if err != nil {
		r.t.Fatal(err)
	}
	resource := answers[0].ProtoReflect().Get(method.Output().Fields().ByNumber(1)).Message()
	return resource.Interface(), resource.Get(resource.Descriptor().Fields().ByName("etag")).String()
}
