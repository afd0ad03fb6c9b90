package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server"
)

// authority is a CA made for one test. It writes what it issues as files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), next: 1}
	a.key = a.newKey()
	template := a.template("the CA of a test")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) template(name string) *x509.Certificate {
	a.next++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// issue writes NAME.pem and NAME.key, in the place of those that are there.
func (a *authority) issue(name string, usage x509.ExtKeyUsage) (serial string) {
	a.t.Helper()
	template, key := a.template(name), a.newKey()
	template.IPAddresses, template.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{usage}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", secret)
	return template.SerialNumber.String()
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// trusts is what a client of the CA has.
func (a *authority) trusts() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool}
}

// serveTLS starts weir serve with TLS and the simulator.
func serveTLS(t *testing.T, a *authority, more string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf("tls: {cert: %s, key: %s%s}\nbackends: [{name: sim, kind: simulator}]\nmodels: [{name: sim-text, targets: [{backend: sim}]}]\n", a.file("server.pem"), a.file("server.key"), more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, t.TempDir(), "--config", file)
}

func TestTLSOnBothPortsOutlivesItsCertificates(t *testing.T) {
	a := newAuthority(t)
	first := a.issue("server", x509.ExtKeyUsageServerAuth)
	p := serveTLS(t, a, "")
	env := map[string]string{"WEIR_ADDR": p.grpc, "WEIR_KEY": p.key(adminKeyFile), "WEIR_CA": a.file("ca.pem")}
	if code, out, failed := runWith(env, acme, "apply", "-f", "-"); code != exitOK {
		t.Fatalf("%d %s %s", code, out, failed)
	}
	code, out, failed := runWith(env, "", "key", "create", "--tenant", "acme", "--name", "k1")
	if code != exitOK {
		t.Fatalf("%d %s", code, failed)
	}
	env["WEIR_KEY"] = strings.TrimSpace(out)
	if code, out, failed := runWith(env, "", "call", "-m", "sim-text", "say: hello"); code != exitOK || out != "hello\n" {
		t.Errorf("%d %q %s", code, out, failed)
	}

	// What is wrong is told by name.
	delete(env, "WEIR_CA")
	for _, c := range []struct {
		flags []string
		says  string
	}{
		{nil, "give --tls"},
		{[]string{"--tls"}, "is not trusted"},
		{[]string{"--ca", a.file("server.key")}, "holds no certificate"},
		{[]string{"--ca", a.file("ca.pem"), "--cert", a.file("ca.pem")}, "--cert-key"},
	} {
		code, _, failed := runWith(env, "", append(append([]string{"call", "-m", "sim-text"}, c.flags...), "hi")...)
		if code == exitOK || !strings.Contains(failed, c.says) {
			t.Errorf("%v: %d %s", c.flags, code, failed)
		}
	}

	// Connections of both ports that are open when the certificate changes.
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(credentials.NewTLS(a.trusts())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+env["WEIR_KEY"])
	stream, err := weirv1.NewGenerationServiceClient(conn).StreamGenerate(ctx, &weirv1.GenerateRequest{
		Model:    "sim-text",
		Messages: []*weirv1.Message{{Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: "tokens: 400"}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: a.trusts(), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	serialOf := func(client *http.Client) string {
		t.Helper()
		answer, err := client.Get("https://" + p.http + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK || answer.ProtoMajor != 2 {
			t.Errorf("%s %s %v", answer.Proto, answer.Status, err)
		}
		return answer.TLS.PeerCertificates[0].SerialNumber.String()
	}
	if got := serialOf(client); got != first {
		t.Errorf("the certificate is %s, not %s", got, first)
	}
	second := a.issue("server", x509.ExtKeyUsageServerAuth)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.waits("the certificates are reloaded")
	if got := serialOf(client); got != first {
		t.Error("the open connection was not kept")
	}
	fresh := &http.Client{Transport: &http.Transport{TLSClientConfig: a.trusts(), ForceAttemptHTTP2: true}}
	defer fresh.CloseIdleConnections()
	if got := serialOf(fresh); got != second {
		t.Errorf("a new connection got %s, not %s", got, second)
	}
	over, err := tls.Dial("tcp", p.grpc, &tls.Config{RootCAs: a.trusts().RootCAs, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := over.ConnectionState(); got.PeerCertificates[0].SerialNumber.String() != second || got.NegotiatedProtocol != "h2" {
		t.Errorf("the gRPC port shows %s, protocol %q", got.PeerCertificates[0].SerialNumber, got.NegotiatedProtocol)
	}
	over.Close()
	completed := false
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the stream that ran: %v", err)
		}
		completed = completed || m.GetCompleted() != nil
	}
	if !completed {
		t.Error("the stream that ran was cut")
	}
}

// waits returns once the process has logged a text.
func (p *process) waits(text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for !strings.Contains(p.log.String(), text) {
		if ctx.Err() != nil {
			p.t.Fatalf("the log never says %q:\n%s", text, p.log)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestMutualTLSIsAWallBeforeTheKey(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	a.issue("client", x509.ExtKeyUsageClientAuth)
	stranger.issue("client", x509.ExtKeyUsageClientAuth)
	p := serveTLS(t, a, ", client_ca: "+a.file("ca.pem"))
	call := func(key string, flags ...string) (int, string) {
		env := map[string]string{"WEIR_ADDR": p.grpc, "WEIR_CA": a.file("ca.pem"), "WEIR_KEY": key}
		code, out, failed := runWith(env, acme, append(append([]string{"apply"}, flags...), "-f", "-")...)
		return code, out + failed
	}
	ours := []string{"--cert", a.file("client.pem"), "--cert-key", a.file("client.key")}
	if code, said := call(p.key(adminKeyFile), ours...); code != exitOK {
		t.Errorf("%d %s", code, said)
	}
	if code, said := call("weir_no-key-of-this-weir-at-all", ours...); code == exitOK || !strings.Contains(said, "API key") {
		t.Errorf("the certificate alone lets a caller in: %d %s", code, said)
	}
	for name, flags := range map[string][]string{"none": nil, "a stranger's": {"--cert", stranger.file("client.pem"), "--cert-key", stranger.file("client.key")}} {
		if code, said := call(p.key(adminKeyFile), flags...); code == exitOK {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: a.trusts()}}).Get("https://" + p.http + "/healthz"); err == nil {
		t.Error("the HTTP port asks for no certificate")
	}
}

// A handshake tells what is in force: client_auth request, and min_version.
func TestHandshakes(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	a.issue("client", x509.ExtKeyUsageClientAuth)
	stranger.issue("client", x509.ExtKeyUsageClientAuth)
	pair := func(of *authority) []tls.Certificate {
		p, err := tls.LoadX509KeyPair(of.file("client.pem"), of.file("client.key"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	for _, c := range []struct {
		name    string
		config  TLSConfig
		client  []tls.Certificate
		most    uint16
		refused bool
	}{
		{name: "none asked", client: nil},
		{name: "asked, none shown", config: TLSConfig{ClientCA: a.file("ca.pem"), ClientAuth: "request"}},
		{name: "asked, a good one", config: TLSConfig{ClientCA: a.file("ca.pem"), ClientAuth: "request"}, client: pair(a)},
		{name: "asked, a stranger's", config: TLSConfig{ClientCA: a.file("ca.pem"), ClientAuth: "request"}, client: pair(stranger), refused: true},
		{name: "wanted, none shown", config: TLSConfig{ClientCA: a.file("ca.pem")}, refused: true},
		{name: "1.2 by default", most: tls.VersionTLS12},
		{name: "1.1 never", most: tls.VersionTLS11, refused: true},
		{name: "1.3 wanted", config: TLSConfig{MinVersion: "1.3"}, most: tls.VersionTLS12, refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Cert, c.config.Key = a.file("server.pem"), a.file("server.key")
			if field, problem := c.config.check(); field != "" {
				t.Fatal(field, problem)
			}
			certificates, err := c.config.open()
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			config := a.trusts()
			config.ServerName, config.MaxVersion, config.MinVersion = "127.0.0.1", c.most, tls.VersionTLS10
			if c.client != nil { // even one that the server does not wish for
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.client[0], nil }
			}
			ended := make(chan error, 1)
			go func() {
				conn := tls.Server(far, certificates.Config("h2"))
				ended <- conn.HandshakeContext(t.Context())
				io.Copy(io.Discard, far)
			}()
			client := tls.Client(near, config)
			go func() {
				client.Handshake()
				io.Copy(io.Discard, client)
			}()
			if err := <-ended; (err != nil) != c.refused {
				t.Errorf("the handshake ended with %v", err)
			}
		})
	}
}

func TestABadCertificateKeepsTheOldOneAndIsLoggedOnce(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	certificates, err := server.OpenCertificates(server.TLS{Cert: a.file("server.pem"), Key: a.file("server.key")})
	if err != nil {
		t.Fatal(err)
	}
	good := certificates.NotAfter()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		now := make(chan struct{})
		go func() {
			certificates.Watch(ctx, time.Second, now, slog.New(slog.NewTextHandler(&log, nil)))
			close(ended)
		}()
		logged := func(what string) int { synctest.Wait(); return strings.Count(log.String(), what) }

		os.WriteFile(a.file("server.pem"), []byte("half a file"), 0o600)
		time.Sleep(10*time.Second + time.Millisecond)
		if n := logged("not reloaded"); n != 1 || !certificates.NotAfter().Equal(good) {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		now <- struct{}{} // who asks is told again
		if n := logged("not reloaded"); n != 2 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		a.issue("server", x509.ExtKeyUsageServerAuth)
		time.Sleep(10 * time.Second)
		if n := logged("are reloaded"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		cancel()
		<-ended
	})
	if strings.Contains(log.String(), "half a file") {
		t.Error("the log holds what stands in the file")
	}
}

func TestWrongTLSIsToldByFieldAndFile(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	cert, key := a.file("server.pem"), a.file("server.key")
	for _, c := range []struct{ tls, says string }{
		{"{key: " + key + "}", "tls.cert: missing"},
		{"{cert: " + cert + "}", "tls.key: missing"},
		{"{cert: " + cert + ", key: " + key + ", client_auth: require}", "tls.client_ca: missing"},
		{"{cert: " + cert + ", key: " + key + ", client_auth: maybe}", "tls.client_auth: unknown way"},
		{"{cert: " + cert + ", key: " + key + ", client_ca: x, client_auth: none}", "tls.client_auth: none asks"},
		{"{cert: " + cert + ", key: " + key + ", min_version: \"1.1\"}", "tls.min_version: unknown version"},
		{"{cert: " + cert + ", key: " + key + ", versions: 1.1}", "unknown field"},
		{"{cert: " + cert + ", key: " + cert + "}", "no certificate and its key"},
		{"{cert: " + cert + ", key: /nowhere}", "cannot read the key"},
		{"{cert: " + cert + ", key: " + key + ", client_ca: " + key + "}", "holds no certificate"},
	} {
		file := filepath.Join(t.TempDir(), "weir.yaml")
		os.WriteFile(file, []byte("tls: "+c.tls+"\nbackends: [{name: sim, kind: simulator}]\nmodels: [{name: sim-text, targets: [{backend: sim}]}]\n"), 0o600)
		code, _, failed := runWith(nil, "", "serve", "--config", file, "--data", t.TempDir(), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0")
		if code != exitUsage || !strings.Contains(failed, c.says) || strings.Contains(failed, "PRIVATE") {
			t.Errorf("%s: %d %s", c.tls, code, failed)
		}
	}
}

func TestPlainPortsOffLoopbackAreWarnedOf(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "10.1.2.3:1": false} {
		if onLoopback(address) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
	p := serve(t, t.TempDir(), "--http", "0.0.0.0:0", "--admin", "0.0.0.0:0")
	log := p.log.String()
	if strings.Count(log, "in the clear") != 1 || !strings.Contains(log, "port=http") || !strings.Contains(log, "let no one but operators") {
		t.Errorf("the log says %s", log)
	}
}
