"""Names of MLPerf's cases of BraTS 2019."""

from __future__ import annotations


def _cases(table: str) -> tuple[str, ...]:
    """Names by grade, site and number; a line without a grade goes on with the last one's."""
    found = []
    grade = site = ""
    for line in table.strip().splitlines():
        words = line.split()
        if words[0] in ("HGG", "LGG"):
            grade, site, *words = words
        found += [f"{grade}__BraTS19_{site}_{word}_1" for word in words]
    return tuple(found)


INFERENCE = _cases(
    """
    HGG 2013 13 19 27
    HGG CBICA AAG ALN ANV AOH APK APR AQG AQP ARZ ASF ASG ATP ATX AUA AVJ AVV AWG AXL AXQ BAN
        BBG BGE BHQ BIC BNR
    HGG TCIA01 131 147 180 190 221 335 411
    HGG TCIA02 151 321 331 368 471
    HGG TCIA03 257 474
    HGG TCIA04 111 328 343
    HGG TCIA05 277 478
    HGG TCIA06 165
    HGG TCIA08 105 280
    HGG TMC 15477 21360 30014
    LGG TCIA09 428
    LGG TCIA10 175 276 393 408 410 449 490 625 637
    LGG TCIA12 249 466
    LGG TCIA13 615 630
    """
)
"""The validation cases of fold 1, in LoadGen's order."""
CALIBRATION = _cases(
    """
    HGG 2013 18 20
    HGG CBICA AAP ABN ABO ALU ANZ APY AQJ AQZ ASN ASY AUW AXJ AXM AYG AYU AZD BAX BGR BHV
    HGG TCIA01 235
    HGG TCIA02 394 473 606
    HGG TCIA03 419
    HGG TCIA04 192 479
    HGG TCIA06 372
    HGG TCIA08 278
    LGG 2013 28
    LGG TCIA09 462
    LGG TCIA10 130 202 346 387 628
    LGG TCIA12 470
    LGG TCIA13 621 653
    """
)
"""Of the other folds."""
