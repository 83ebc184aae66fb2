package documents

import (
	"flag"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write generated documents again")

// surface lists what pkg/client exports, a declaration each, and what of it has
// no sentence.
func surface(t *testing.T) (listing string, silent []string) {
	t.Helper()
	fset := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(root, "pkg/client/*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_none.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(fset, files, module+"pkg/client")
	require.NoError(t, err)
	var b strings.Builder
	write := func(name, text string, decl ast.Decl) {
		if strings.TrimSpace(text) == "" {
			silent = append(silent, name)
		}
		if f, ok := decl.(*ast.FuncDecl); ok {
			f.Body, f.Doc = nil, nil
		}
		if g, ok := decl.(*ast.GenDecl); ok {
			g.Doc = nil
		}
		config := printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8}
		require.NoError(t, config.Fprint(&b, fset, decl))
		b.WriteString("\n\n")
	}
	values := func(list []*doc.Value) {
		for _, v := range list {
			write(strings.Join(v.Names, ", "), v.Doc, v.Decl)
		}
	}
	funcs := func(of string, list []*doc.Func) {
		for _, f := range list {
			write(of+f.Name, f.Doc, f.Decl)
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs("", p.Funcs)
	for _, named := range p.Types {
		write(named.Name, named.Doc, named.Decl)
		values(named.Consts)
		values(named.Vars)
		funcs("", named.Funcs)
		funcs(named.Name+".", named.Methods)
	}
	return b.String(), silent
}

const module = "github.com/easel-jobs/easel/"

// TestClientSurface holds docs/api.txt to what pkg/client exports, so that a
// change of it is seen, and every exported name to a sentence.
func TestClientSurface(t *testing.T) {
	listing, silent := surface(t)
	require.Empty(t, silent, "exported names without a sentence")
	file := filepath.Join(root, "docs/api.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(listing), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), listing, "docs/api.txt is out of date: go test ./internal/documents -run TestClientSurface -update")
}
