package gcs

import "strings"

// unknownType is that of all other names.
const unknownType = "application/octet-stream"

// contentType is that of an object as Google's Python client guesses it for Open
// WebUI: by the extension, from the tables of Python 3.11 and of Debian's
// media-types. Nothing but a browser that is sent to the bucket cares, so only
// the usual documents are here.
func contentType(key string) string {
	dot := strings.LastIndexByte(key, '.')
	if dot <= 0 {
		return unknownType
	}
	switch strings.ToLower(key[dot+1:]) {
	case "txt":
		return "text/plain"
	case "md":
		return "text/markdown"
	case "csv":
		return "text/csv"
	case "tsv":
		return "text/tab-separated-values"
	case "html", "htm":
		return "text/html"
	case "css":
		return "text/css"
	case "xml":
		return "application/xml"
	case "json":
		return "application/json"
	case "rtf":
		return "application/rtf"
	case "pdf":
		return "application/pdf"
	case "doc":
		return "application/msword"
	case "docx":
		return "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	case "xls":
		return "application/vnd.ms-excel"
	case "xlsx":
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case "ppt":
		return "application/vnd.ms-powerpoint"
	case "pptx":
		return "application/vnd.openxmlformats-officedocument.presentationml.presentation"
	case "odt":
		return "application/vnd.oasis.opendocument.text"
	case "ods":
		return "application/vnd.oasis.opendocument.spreadsheet"
	case "odp":
		return "application/vnd.oasis.opendocument.presentation"
	case "epub":
		return "application/epub+zip"
	case "eml":
		return "message/rfc822"
	case "ics":
		return "text/calendar"
	case "vcf":
		return "text/vcard"
	case "tex":
		return "text/x-tex"
	case "png":
		return "image/png"
	case "jpg", "jpeg":
		return "image/jpeg"
	case "gif":
		return "image/gif"
	case "bmp":
		return "image/bmp"
	case "tif", "tiff":
		return "image/tiff"
	case "svg":
		return "image/svg+xml"
	case "webp":
		return "image/webp"
	case "heic":
		return "image/heic"
	case "avif":
		return "image/avif"
	case "mp3":
		return "audio/mpeg"
	case "m4a":
		return "audio/mp4"
	case "wav":
		return "audio/x-wav"
	case "ogg":
		return "audio/ogg"
	case "flac":
		return "audio/flac"
	case "aac":
		return "audio/aac"
	case "mp4":
		return "video/mp4"
	case "webm":
		return "video/webm"
	case "mov":
		return "video/quicktime"
	case "avi":
		return "video/x-msvideo"
	case "mkv":
		return "video/x-matroska"
	case "mpeg":
		return "video/mpeg"
	case "zip":
		return "application/zip"
	case "tar", "tgz":
		return "application/x-tar"
	case "7z":
		return "application/x-7z-compressed"
	case "js", "mjs":
		return "text/javascript"
	case "py":
		return "text/x-python"
	case "java":
		return "text/x-java"
	case "c":
		return "text/x-csrc"
	case "h":
		return "text/x-chdr"
	case "cpp":
		return "text/x-c++src"
	case "sh":
		return "text/x-sh"
	case "sql":
		return "application/sql"
	}
	return unknownType
}
