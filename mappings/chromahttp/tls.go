package chromahttp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// certificate reports whether the connection failed for the server's
// certificate, or because it does not speak TLS: no retry mends that.
func certificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &record)
}
