"""The words of a report, in English and Vietnamese."""

from bccd.study.errors import StudyError

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Report of the study {study}", "Báo cáo của bộ ảnh {study}"),
    "not_diagnostic": (
        "Research software, not a diagnostic device: no medical decision may rest on this report.",
        "Phần mềm nghiên cứu, không phải thiết bị chẩn đoán: không được dựa vào báo cáo này để "
        "đưa ra quyết định y khoa.",
    ),
    "written": ("written", "lập lúc"),
    "fields": ("fields", "số trường"),
    "counted": ("counted", "đã đếm"),
    "failed": ("could not be counted", "không đếm được"),
    "accepted": ("accepted by a person", "đã được người duyệt"),
    "by": ("by", "người duyệt"),
    "model": ("Model", "Mô hình"),
    "settings": ("Settings", "Thiết lập"),
    "classes": ("classes", "các loại tế bào"),
    "published": ("published", "ngày công bố"),
    "data": ("trained on", "huấn luyện trên"),
    "sha": ("SHA-256 of its file", "SHA-256 của tệp"),
    "use": ("intended use", "mục đích sử dụng"),
    "limits": ("Limits, from the card of the model:", "Giới hạn, theo thẻ mô hình:"),
    "no_card": ("The model has no card.", "Mô hình không có thẻ."),
    "border": ("cells that the border of a field cuts", "tế bào bị cắt bởi mép trường"),
    "border_all": ("all count", "đếm tất cả"),
    "border_half": (
        "those at the upper and left edge count",
        "chỉ đếm ở mép trên và mép trái",
    ),
    "border_inside": ("none counts", "không đếm"),
    "diameter": ("diameter of red cells, pixels", "đường kính hồng cầu, điểm ảnh"),
    "measured": ("measured in each field", "đo trong từng trường"),
    "pixel": ("micrometres per pixel", "micromet mỗi điểm ảnh"),
    "stated": ("as the files state it", "theo thông tin trong tệp"),
    "threshold": ("threshold of {name}", "ngưỡng của {name}"),
    "results": ("Counts", "Kết quả đếm"),
    "class": ("class", "loại"),
    "unit": ("unit", "đơn vị"),
    "value": ("value", "giá trị"),
    "total": ("total", "tổng"),
    "sd": ("SD", "độ lệch chuẩn"),
    "interval": ("95% interval", "khoảng tin cậy 95%"),
    "per field": ("per field", "mỗi trường"),
    "per red cell": ("per red cell", "mỗi hồng cầu"),
    "per 1,000 red cells": ("per 1,000 red cells", "mỗi 1.000 hồng cầu"),
    "in all fields": ("in all fields", "trong tất cả các trường"),
    "unequal": (
        "The largest field shows {ratio} times the area of the smallest: numbers per field mix "
        "different fields. Count fields of one size together.",
        "Trường lớn nhất có diện tích gấp {ratio} lần trường nhỏ nhất: số liệu mỗi trường trộn lẫn "
        "các trường khác nhau. Hãy đếm riêng các trường cùng cỡ.",
    ),
    "agreement": ("Agreement of model and person", "Mức phù hợp giữa mô hình và người"),
    "agreement_text": (
        "Accepted fields: {fields}. The person saw what the model had found, so this says "
        "how much there was to correct. Difference: model less person, in cells of a field.",
        "Số trường đã duyệt: {fields}. Người duyệt đã thấy kết quả của mô hình, nên bảng này cho "
        "biết cần sửa bao nhiêu. Chênh lệch: mô hình trừ người, số tế bào mỗi trường.",
    ),
    "no_agreement": (
        "No field was accepted by a person, so nothing is known of it.",
        "Chưa có trường nào được người duyệt, nên chưa biết mức phù hợp.",
    ),
    "person": ("person", "người"),
    "bias": ("difference", "chênh lệch"),
    "limits_of": ("limits of agreement", "giới hạn phù hợp"),
    "precision": ("precision", "độ chính xác"),
    "recall": ("recall", "độ nhạy"),
    "corrected": ("What was corrected", "Những gì đã sửa"),
    "nothing_corrected": ("Nothing was corrected.", "Chưa sửa gì."),
    "correction": ("correction", "sửa đổi"),
    "who": ("person", "người"),
    "number": ("number", "số lần"),
    "add": ("added {name}", "thêm {name}"),
    "move": ("moved or resized {name}", "di chuyển hoặc đổi cỡ {name}"),
    "delete": ("deleted {name}", "xóa {name}"),
    "change": ("{from} changed to {to}", "đổi {from} thành {to}"),
    "confirm": ("confirmed {name}", "xác nhận {name}"),
    "all_fields": ("All fields", "Tất cả các trường"),
    "field": ("field", "trường"),
    "notes": ("notes", "ghi chú"),
    "corrections": ("corrections", "số lần sửa"),
    "pictures": ("Fields with their cells", "Các trường và tế bào"),
    "more_pictures": (
        "The first {shown} of {all} fields are shown.",
        "Chỉ hiển thị {shown} trong {all} trường.",
    ),
    "regions": ("Regions", "Vùng"),
    "region": ("region", "vùng"),
    "unreadable": ("the image cannot be read", "không đọc được ảnh"),
}
LANGUAGES = ("en", "vi")


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        """``language``: one of ``LANGUAGES``; raises StudyError for another."""
        if language not in LANGUAGES:
            raise StudyError(f"there is no language {language!r}: use {', '.join(LANGUAGES)}")
        self.language, self._column = language, LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key, with values put in."""
        return _WORDS[key][self._column].format_map(values)
