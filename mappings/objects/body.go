package objects

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net/http"

	"outgrow/pipeline"
)

// Body is the content of an answer whose length is known: one that ends earlier
// ends with io.ErrUnexpectedEOF, and every error is classified.
type Body struct {
	io.ReadCloser
	// Left is how many bytes are still to come.
	Left int64
	// Classify tells of an error other than io.EOF whether another try may help.
	Classify func(error) error
}

// Read reads on.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.Left -= int64(n)
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF):
		err = b.Classify(err)
	case b.Left != 0:
		err = b.Classify(io.ErrUnexpectedEOF)
	}
	return n, err
}

// Classifier binds a bucket's classification of errors to an operation.
func Classifier(ctx context.Context, op string, classify func(context.Context, string, error) error) func(error) error {
	return func(err error) error { return classify(ctx, op, err) }
}

// Changed is the error of a read whose object was replaced meanwhile.
func Changed(op string) error { return &pipeline.Error{Op: op, Err: ErrChanged} }

// Gone makes an error fs.ErrNotExist, too, and keeps its text.
func Gone(err error) error { return &gone{err} }

type gone struct{ err error }

func (g *gone) Error() string   { return g.err.Error() }
func (g *gone) Unwrap() []error { return []error{fs.ErrNotExist, g.err} }

// Untrusted reports whether a connection failed for its certificate, or for the
// scheme of the address.
func Untrusted(err error) bool {
	var (
		cert     *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		record   tls.RecordHeaderError
	)
	return errors.As(err, &cert) || errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}
