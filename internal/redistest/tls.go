package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// encryption is the TLS port of a server, with a certificate of an authority
// that is known to nobody.
type encryption struct {
	port                 int
	ca, certificate, key string
}

// TLS has the server listen on a second port, with TLS and a certificate for
// 127.0.0.1 of an authority of its own.
func TLS() Option {
	return func(s *Server) { s.tls = &encryption{} }
}

// TLSURL is the server's address as a rediss:// URL.
func (s *Server) TLSURL() string {
	return "rediss://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tls.port)) + "/0"
}

// CA is the file of the authority that vouches for the server's certificate.
func (s *Server) CA() string { return s.tls.ca }

func (e *encryption) args() []string {
	if e == nil {
		return nil
	}
	return []string{"--tls-port", strconv.Itoa(e.port), "--tls-cert-file", e.certificate, "--tls-key-file", e.key,
		"--tls-ca-cert-file", e.ca, "--tls-auth-clients", "no"}
}

// prepare makes the certificates, once, and chooses a port.
func (e *encryption) prepare(dir string) (err error) {
	if e.port, err = freePort(); err != nil || e.ca != "" {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signed, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	vouched, err := x509.CreateCertificate(rand.Reader, leaf, authority, &leafKey.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return err
	}
	e.ca, e.certificate, e.key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return errors.Join(writePEM(e.ca, "CERTIFICATE", signed), writePEM(e.certificate, "CERTIFICATE", vouched), writePEM(e.key, "PRIVATE KEY", key))
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
