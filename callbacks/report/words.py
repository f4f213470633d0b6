"""What metrics of samples measure, in a few words."""

#: by logged name
METRICS = {
    "authenticity": "share of samples that are no copies; higher",
    "copies": "share of samples next to a training row; as low as real samples",
    "birthday_support": "estimated number of different samples; higher",
    "fid": "Frechet distance of features; lower",
    "fid_infinity": "the same at unlimited samples; lower",
    "inception_score": "sure and varied classes; higher",
    "kid": "kernel distance of features; lower",
    "ms_ssim": "similarity of pairs of samples; as real samples",
    "between": "share of samples between modes; as low as real samples",
    "modes": "modes with a sample; higher",
    "mode_kl": "divergence of mode shares, nats; lower",
    "mode_reverse_kl": "the same, decided by lost modes; lower",
    "mode_share_min": "share of the rarest mode; higher",
    "high_quality": "share of samples in a mode; higher",
    "ndb": "bins with another share than the data; lower",
    "precision": "share of samples near data; higher",
    "recall": "share of data near samples; higher",
    "density": "samples in dense regions of the data; higher",
    "coverage": "share of data with a sample near; higher",
    "vendi": "effective number of different samples; higher",
    "power_distance": "distance of radial power spectra; lower",
}
