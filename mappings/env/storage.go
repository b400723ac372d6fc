package env

// S3Config is what the S3_* variables say.
type S3Config struct {
	Endpoint        string // S3_ENDPOINT_URL, "" for AWS
	AccessKey       Secret // S3_ACCESS_KEY_ID; "" for the default chain of credentials
	SecretKey       Secret // S3_SECRET_ACCESS_KEY
	Region          string // S3_REGION_NAME, "" for the default chain's
	Bucket          string // S3_BUCKET_NAME
	Prefix          string // S3_KEY_PREFIX as Open WebUI joins it: "" or ending in a slash
	AddressingStyle string // S3_ADDRESSING_STYLE: "", "auto", "path" or "virtual"
	Accelerate      bool   // S3_USE_ACCELERATE_ENDPOINT
	Tagging         bool   // S3_ENABLE_TAGGING
}

// GCSConfig is what the variables of Google Cloud Storage say.
type GCSConfig struct {
	Bucket      string // GCS_BUCKET_NAME
	Credentials Secret // GOOGLE_APPLICATION_CREDENTIALS_JSON; "" for the default chain
	Emulator    string // STORAGE_EMULATOR_HOST with its scheme, "" for Google's
}

// AzureConfig is what the AZURE_STORAGE_* variables say.
type AzureConfig struct {
	Endpoint  string // AZURE_STORAGE_ENDPOINT, verbatim: file.path begins with it
	Container string // AZURE_STORAGE_CONTAINER_NAME
	Key       Secret // AZURE_STORAGE_KEY; "" for the default chain
}
