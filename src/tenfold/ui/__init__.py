"""What a person sees: report pages and terminal tables."""
